import Encoders

/// Which tokens of a sample an output of a model may depend on.
public enum TokenFlow: String, Hashable, Sendable, CaseIterable {
  /// The tokens up to and including its own: language models.
  case causal
  /// All tokens: encoders, vision.
  case bidirectional
}

extension StrassenTile {
  /// Whether ``encoder`` multiplies matrices exactly, so that a fitted layer treats rows independently.
  public var isExact: Bool { encoder.isExact }

  /// Refuses a row policy that lets outputs see tokens that they must not see.
  ///
  /// Under `sequence` and `flat` a tile holds consecutive tokens, and with an inexact algorithm the
  /// earlier ones read the later: a language model trained so learns to look ahead, and its
  /// perplexity means nothing. `batch` never mixes tokens. An exact algorithm does not as long as
  /// its weight is the encoding of a dense one; a freely trained weight may, which
  /// ``rowMixing(_:)`` and ``LeakTest`` tell. (No algorithm of rank below t³ is causal by its
  /// structure alone.)
  ///
  /// - Parameters:
  ///   - flow: the tokens that an output of the model may depend on.
  ///   - insisting: accept the policy all the same.
  ///
  /// Throws ``StrassenTileError/causal(rows:encoder:)``.
  public func validate(for flow: TokenFlow, insisting: Bool = false) throws(StrassenTileError) {
    guard flow == .causal, rows != .batch, !isExact, !insisting else { return }
    throw .causal(rows: rows, encoder: encoder.name)
  }
}
