import FoundationEssentials
import MLX

/// What follows an encoder in a model of sentences: pooling, and perhaps normalisation.
public struct SentenceHead: Hashable, Sendable {
  /// How the hidden states of a sentence become one vector.
  public enum Pooling: String, CaseIterable, Hashable, Sendable {
    /// Their mean over the tokens that are no padding.
    case mean
    /// The first one.
    case cls
    /// The largest of each component over the tokens that are no padding.
    case max
  }

  /// How the hidden states become one vector.
  public var pooling: Pooling
  /// Whether vectors are scaled to length one.
  public var normalizes: Bool
  /// The number of tokens that texts are cut to.
  public var maximumLength: Int

  /// A head by hand.
  public init(pooling: Pooling = .mean, normalizes: Bool = false, maximumLength: Int = 512) {
    self.pooling = pooling
    self.normalizes = normalizes
    self.maximumLength = maximumLength
  }

  /// The vectors [B, D] for hidden states [B, T, D] and a `bool` mask [B, T].
  public func callAsFunction(_ hidden: MLXArray, mask: MLXArray? = nil) -> MLXArray {
    let vectors: MLXArray
    let shown = mask?.expandedDimensions(axis: -1)
    switch pooling {
    case .mean:
      if let shown {
        let weights = shown.asType(hidden.dtype)
        vectors = (hidden * weights).sum(axis: 1) / weights.sum(axis: 1)
      } else {
        vectors = hidden.mean(axis: 1)
      }
    case .cls: vectors = hidden[0..., 0]
    case .max:
      let lowest = MLXArray(-Double.infinity, dtype: hidden.dtype)
      vectors = (shown.map { which($0, hidden, lowest) } ?? hidden).max(axis: 1)
    }
    guard normalizes else { return vectors }
    // As in PyTorch's normalize: a vector of zeros stays one.
    let lengths = sqrt(square(vectors).sum(axis: -1, keepDims: true))
    return vectors / maximum(lengths, MLXArray(1e-12, dtype: hidden.dtype))
  }
}

// MARK: - From files

extension SentenceHead {
  /// Reads `modules.json` and what it points to; a folder without it is pooled by the mean, as
  /// the sentence-transformers package does.
  init(folder: URL, limit: Int) throws {
    self.init(maximumLength: limit)
    let transformer = folder.appending(path: "sentence_bert_config.json")
    if SentenceHead.exists(transformer) {
      let file = try ConfigurationFile(url: transformer)
      maximumLength = min(limit, try file.integer("max_seq_length", default: limit))
    }
    let url = folder.appending(path: "modules.json")
    guard SentenceHead.exists(url) else { return }
    for (type, path) in try SentenceHead.modules(url) {
      switch type {
      case "Transformer": break
      case "Pooling":
        pooling = try SentenceHead.pooling(
          ConfigurationFile(url: folder.appending(path: path).appending(path: "config.json")))
      case "Normalize": normalizes = true
      default:
        throw CheckpointError.unsupported(
          file: url.path(percentEncoded: false), key: "type",
          expected: "Transformer, Pooling, Normalize", got: type)
      }
    }
  }

  private static func exists(_ url: URL) -> Bool {
    FileManager.default.fileExists(atPath: url.path(percentEncoded: false))
  }

  /// The last part of each module's type, and the folder of its configuration.
  private static func modules(_ url: URL) throws -> [(type: String, path: String)] {
    let name = url.path(percentEncoded: false)
    let document: JSON
    do {
      document = try JSON(parsing: [UInt8](try Data(contentsOf: url)))
    } catch {
      throw CheckpointError.notJSON(file: name, reason: "\(error)")
    }
    guard let items = document.array else {
      throw CheckpointError.notJSON(file: name, reason: "it holds \(document.kind), not a list")
    }
    return try items.map { item in
      guard let type = item["type"]?.string, let path = item["path"]?.string else {
        throw CheckpointError.missingKey(file: name, key: "type, path")
      }
      guard !path.hasPrefix("/"), !path.split(separator: "/").contains("..") else {
        throw CheckpointError.illTyped(
          file: name, key: "path", expected: "a folder inside the model", got: path)
      }
      return (type.split(separator: ".").last.map(String.init) ?? type, path)
    }
  }

  private static func pooling(_ file: ConfigurationFile) throws -> Pooling {
    let modes: [(key: String, pooling: Pooling?)] = [
      ("pooling_mode_mean_tokens", .mean), ("pooling_mode_cls_token", .cls),
      ("pooling_mode_max_tokens", .max), ("pooling_mode_mean_sqrt_len_tokens", nil),
      ("pooling_mode_weightedmean_tokens", nil), ("pooling_mode_lasttoken", nil),
    ]
    if file.object["pooling_mode"] != nil { return try file.choice("pooling_mode") }
    let chosen = try modes.filter { try file.bool($0.key, default: false) }
    guard chosen.count == 1, let pooling = chosen.first?.pooling else {
      throw CheckpointError.unsupported(
        file: file.path, key: "pooling_mode",
        expected: Pooling.allCases.map(\.rawValue).joined(separator: ", "),
        got: chosen.isEmpty ? "none" : chosen.map(\.key).joined(separator: ", "))
    }
    return pooling
  }
}
