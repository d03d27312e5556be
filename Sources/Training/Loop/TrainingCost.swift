import Layers
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections

/// What one example costs a model, and how that compares with the device.
///
/// Counted are the products with weights, those of structured layers with everything that they
/// compute, and those inside attention, whole rows of scores even where a mask hides a part. A
/// training step counts three times the forward pass.
///
/// Source: Chowdhery et al., "PaLM", 2022, appendix B, which defines model-FLOPS utilisation.
public struct TrainingCost: Codable, Hashable, Sendable {
  /// Multiply-adds of one example going forward.
  public let multiplyAdds: Double
  /// Rows that the rate of a run counts for one example: tokens, or 1 for an image.
  public let unitsPerExample: Int
  /// `tokens` or `images`.
  public let unit: String

  /// The cost of examples of `length` tokens; images have their own number.
  public init(_ model: any CheckpointModel, length: Int) {
    let isLanguage = model is any LanguageModel
    (unit, unitsPerExample) = isLanguage ? ("tokens", length) : ("images", 1)
    var sum = model.attentionMultiplyAdds(length: length)
    for (path, module) in model.namedModules() {
      let rows = Double(model.rows(of: path, length: length))
      switch module {
      case let layer as Linear:
        sum += rows * Double(layer.inputDimensions) * Double(layer.outputDimensions)
      case let layer as StructuredLinear: sum += rows * layer.structure.cost.multiplyAdds
      default: break
      }
    }
    if let (vocabulary, width) = model.tiedHead {
      sum += Double(length) * Double(vocabulary) * Double(width)
    }
    multiplyAdds = sum
  }

  /// The share of a peak rate in FLOP/s that training so many examples a second is.
  func utilization(examplesPerSecond: Double, peak: Double) -> Double {
    6 * multiplyAdds * examplesPerSecond / peak
  }

  /// The rate in FLOP/s of dense products that the data sheet of the device promises for a type;
  /// `nil` where it is not known.
  ///
  /// Sources: NVIDIA H100 and H200 data sheets (SXM), without sparsity.
  static func peak(_ dtype: DType) -> Double? {
    guard Device.default == .gpu, dtype == .bfloat16 || dtype == .float16,
      let name = Device.gpu.information["device_name"]
    else { return nil }
    return name.contains("H100") || name.contains("H200") ? 989.4e12 : nil
  }
}

extension CheckpointModel {
  /// How many rows the linear layer at a path sees for one example.
  fileprivate func rows(of path: String, length: Int) -> Int {
    switch self {
    case is any LanguageModel: length
    case let model as ViTModel:
      path.hasPrefix("vit.embeddings")
        ? model.configuration.patchCount
        : path == "classifier" || path.contains("pooler") ? 1 : model.configuration.patchCount + 1
    case let model as T2TViTModel: model.configuration.rows(of: path)
    default: 1
    }
  }

  /// Scores and weighted sums of attention: 2 T² D a layer.
  fileprivate func attentionMultiplyAdds(length: Int) -> Double {
    func layers(_ count: Int, _ tokens: Int, _ width: Int) -> Double {
      2 * Double(count) * Double(tokens) * Double(tokens) * Double(width)
    }
    switch self {
    case let model as GPT2Model:
      return layers(model.configuration.layerCount, length, model.configuration.hiddenSize)
    case let model as LlamaModel:
      let sizes = model.configuration
      return layers(sizes.layerCount, length, sizes.headCount * sizes.headSize)
    case let model as ViTModel:
      let sizes = model.configuration
      return layers(sizes.layerCount, sizes.patchCount + 1, sizes.hiddenSize)
    case let model as T2TViTModel:
      let sizes = model.configuration
      // A performer: features of queries and keys, and two products with the values, for each token.
      let performers = sizes.gridSizes.dropLast().reduce(0.0) {
        $0 + 4 * Double($1 * $1) * Double(sizes.featureCount) * Double(sizes.tokenSize)
      }
      return performers + layers(sizes.layerCount, sizes.tokenCount + 1, sizes.hiddenSize)
    default: return 0
    }
  }

  /// V and D where the table of words is the output layer too.
  fileprivate var tiedHead: (vocabulary: Int, width: Int)? {
    switch self {
    case let model as GPT2Model where model.configuration.tiesEmbeddings:
      (model.configuration.vocabularySize, model.configuration.hiddenSize)
    case let model as LlamaModel where model.configuration.tiesEmbeddings:
      (model.configuration.vocabularySize, model.configuration.hiddenSize)
    default: nil
    }
  }
}

extension T2TViTConfiguration {
  /// How many rows the linear layer at a path sees for one image.
  fileprivate func rows(of path: String) -> Int {
    let grids = gridSizes.map { $0 * $0 }
    if path.hasPrefix("tokens_to_token.attention1") { return grids[0] }
    if path.hasPrefix("tokens_to_token.attention2") { return grids[1] }
    if path == "tokens_to_token.project" { return grids[2] }
    return path == "head" ? 1 : tokenCount + 1
  }
}
