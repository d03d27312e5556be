import Foundation

/// Where the examples of a conversion or an evaluation come from, and how many are taken.
///
/// What is left `nil` the family of the model decides.
public struct ExampleSource: Hashable, Sendable {
  /// A UTF-8 text, or the folder of a set that `tessera data` prepared; `nil` for the family's own.
  public var url: URL?
  /// Examples to calibrate and distil on.
  public var calibration: Int?
  /// Other examples, to judge by.
  public var heldOut: Int?
  /// Tokens of a sequence, for language models.
  public var length: Int?
  /// Examples of a batch, for language models and images.
  ///
  /// With tiles across a batch a sequence's result depends on how many there are.
  public var batch: Int?

  /// Makes a source.
  public init(
    _ url: URL? = nil, calibration: Int? = nil, heldOut: Int? = nil, length: Int? = nil,
    batch: Int? = nil
  ) {
    self.url = url
    self.calibration = calibration
    self.heldOut = heldOut
    self.length = length
    self.batch = batch
  }

  /// Whether the source is a folder, as prepared sets are.
  var isFolder: Bool {
    var isFolder: ObjCBool = false
    let path = url?.path(percentEncoded: false) ?? ""
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
      && isFolder.boolValue
  }
}
