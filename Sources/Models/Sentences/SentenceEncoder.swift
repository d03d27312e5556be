import FoundationEssentials
import MLX

/// A model of sentences: a BERT encoder whose hidden states become one vector a sentence.
///
/// Source: Reimers, Gurevych, "Sentence-BERT: sentence embeddings using Siamese BERT-networks", 2019,
/// section 3.
public final class SentenceEncoder {
  /// How the hidden states of a sentence become one vector.
  public let head: SentenceHead
  /// The encoder and its folder.
  public let checkpoint: BERTCheckpoint

  /// Loads a folder: the encoder, and what `modules.json` says about pooling.
  public convenience init(
    folder: URL, structuredLayers: StructuredLayerFactory = .none, dtype: DType = .float32
  ) throws {
    try self.init(
      BERTCheckpoint(
        folder: CheckpointFolder(url: folder), structuredLayers: structuredLayers, dtype: dtype))
  }

  /// An encoder that has been loaded, with what its folder says about pooling.
  public init(_ checkpoint: BERTCheckpoint) throws {
    self.checkpoint = checkpoint
    head = try SentenceHead(
      folder: checkpoint.folder.url, limit: checkpoint.model.configuration.maximumLength)
  }

  /// The encoder.
  public var model: BERTModel { checkpoint.model }

  /// The tokenizer of the folder, which cuts texts to the length that the model was made for.
  public func tokenizer(python: PythonInterpreter? = nil) throws -> Tokenizer {
    try Tokenizer(
      folder: checkpoint.folder.url, maximumLength: head.maximumLength, python: python)
  }

  /// The vectors [B, D] of sentences of any lengths [B, T], with a mask where there is padding.
  ///
  /// Throws ``TokenInputError``.
  public func callAsFunction(_ input: BERTInput) throws -> MLXArray {
    head(try model(input), mask: input.maskArray)
  }

  /// The vectors [count, D] of all sentences in their own order, computed batch by batch.
  ///
  /// Throws ``TokenInputError``, or what went wrong while computing.
  public func embeddings(_ batches: TokenBatches) throws -> MLXArray {
    var rows: [MLXArray] = []
    var places = [Int32](repeating: 0, count: batches.count)
    var next: Int32 = 0
    for batch in batches {
      let vectors = try self(BERTInput(tokens: batch.tokens))
      try eval(vectors)
      rows.append(vectors)
      for index in batch.indices {
        places[index] = next
        next += 1
      }
    }
    guard !rows.isEmpty else { return MLXArray.zeros([0, model.configuration.hiddenSize]) }
    let result = concatenated(rows, axis: 0)[MLXArray(places)]
    try eval(result)
    return result
  }
}
