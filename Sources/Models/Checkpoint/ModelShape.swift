import MLX

/// A published model's sizes, for models with random weights: what time, memory and energy need.
public enum ModelShape: String, CaseIterable, Hashable, Sendable {
  /// TinyLlama: 22 layers, 2048 wide, 5632 inside.
  case tinyLlama = "tinyllama"
  /// GPT-2 of 124 million parameters.
  case gpt2 = "gpt2"
  /// ViT-S/16.
  case vitSmall16 = "vit-s-16"
  /// ViT-L/16.
  case vitLarge16 = "vit-l-16"
  /// ViT-H/14.
  case vitHuge14 = "vit-h-14"

  /// A model of these sizes whose weights are all zero.
  public func makeModel() -> any CheckpointModel {
    switch self {
    case .tinyLlama: LlamaModel(.tinyLlama)
    case .gpt2: GPT2Model(GPT2Configuration())
    case .vitSmall16: ViTModel(.small16)
    case .vitLarge16: ViTModel(.large16)
    case .vitHuge14: ViTModel(.huge14)
    }
  }
}
