/// What an operator costs.
public struct Cost: Hashable, Sendable, Codable {
  /// Numbers stored.
  public var parameters: Int
  /// Multiply-adds for one row, with everything counted: encoding and decoding too.
  ///
  /// A tiled operator counts a whole tile divided by its rows.
  public var multiplyAdds: Double
  /// Numbers written to and read from memory for one row beside the input and the output, if each
  /// stage of the composed product stores its result.
  public var intermediates: Double

  /// Makes a cost.
  public init(parameters: Int, multiplyAdds: Double, intermediates: Double = 0) {
    self.parameters = parameters
    self.multiplyAdds = multiplyAdds
    self.intermediates = intermediates
  }

  /// Bytes moved for a batch of rows: parameters once, input, output and intermediates for each.
  public func bytes(rows: Int, inputs: Int, outputs: Int, elementSize: Int) -> Double {
    let perRow = Double(inputs + outputs) + 2 * intermediates
    return (Double(parameters) + Double(rows) * perRow) * Double(elementSize)
  }
}
