import Foundation
import MLX
import MLXOptimizers
import Models
import Operators

/// What a training run does, from the model to the last checkpoint.
///
/// A recipe is a YAML file, which ``init(contentsOf:)`` reads and checks whole; paths in it are
/// relative to its folder. The article on training shows all its keys.
public struct Recipe: Sendable {
  /// Where the model comes from.
  public enum Start: Hashable, Sendable {
    /// Random weights, with sizes under the names of `config.json`.
    case new(type: String, sizes: String)
    /// The weights of a Hugging Face folder.
    case checkpoint(URL)
  }

  /// What some layers become.
  public struct Structure: Hashable, Sendable {
    /// Which layers, by path.
    public var layers: LayerPattern
    /// Their structure; `dense` leaves them as they are.
    public var spec: OperatorSpec
  }

  /// How numbers are held while computing.
  public enum Precision: String, Sendable, CaseIterable {
    /// Everything in `float32`.
    case float32 = "f32"
    /// Products in `bfloat16`; master weights and the optimiser's state in `float32`.
    case bfloat16 = "bf16"

    /// The type of the model's weights.
    var dtype: DType { self == .float32 ? .float32 : .bfloat16 }
  }

  /// AdamW's numbers.
  public struct Adam: Hashable, Sendable {
    /// η, the base learning rate.
    public var rate = 1e-3
    /// β₁ and β₂.
    public var betas = [0.9, 0.999]
    /// ε.
    public var epsilon = 1e-8
    /// λ, the weight decay.
    public var decay = 0.0
  }

  /// How the learning rate changes.
  public struct Decay: Hashable, Sendable {
    /// The curve after the warm-up.
    public enum Kind: String, Sendable, CaseIterable {
      /// The same rate.
      case constant
      /// Half a cosine wave down to the final rate.
      case cosine
      /// The same rate, and at the end a straight line to the final rate.
      case wsd
    }

    /// The curve.
    public var kind = Kind.cosine
    /// Steps from zero to the base rate.
    public var warmUp = 0
    /// The last steps of `wsd`, in which the rate falls.
    public var decay = 0
    /// The rate at the end, as a share of the base rate.
    public var final = 0.0
  }

  /// What training learns beside the targets.
  public struct Distillation: Hashable, Sendable {
    /// The folder of the teacher.
    public var teacher: URL
    /// The teacher's share of the loss.
    public var weight = 0.5
    /// What logits are divided by.
    public var temperature = 1.0
  }

  /// Where the model comes from.
  public var start: Start
  /// What layers become, the first rule that names a layer first.
  public var structures: [Structure] = []
  /// Whether the encoders and decoders of Strassen-Tile layers learn.
  public var learnsEncoders = true
  /// The rules of initialisation and learning rates.
  public var rules = TrainingRules()
  /// The steps in which a dense layer beside every structured one helps it to start; 0 without.
  public var guidedSteps = 0
  /// The prepared data.
  public var data: URL
  /// Tokens of an example; `nil` for as many as the model takes.
  public var length: Int?
  /// What becomes of images on their way into a batch.
  public var augmentation = ImageAugmentation.none
  /// Examples of one step, over all processes.
  public var batch: Int
  /// How many parts a process's share of a batch is computed in, one after the other.
  public var accumulation = 1
  /// The number of steps.
  public var steps: Int
  /// The optimiser.
  public var optimizer = Adam()
  /// The schedule.
  public var schedule = Decay()
  /// The largest norm of the gradients, if they are clipped.
  public var clip: Double?
  /// The share that the running average of the weights keeps in a step, if there is one.
  public var average: Double?
  /// The precision.
  public var precision = Precision.float32
  /// The seed of everything random.
  public var seed: UInt64 = 0
  /// s, by which targets become (1 − s) target + s / classes.
  public var labelSmoothing = 0.0
  /// A teacher, if there is one.
  public var distillation: Distillation?
  /// The folder of the run.
  public var output: URL
  /// Steps between checkpoints.
  public var checkpointInterval: Int
  /// How many checkpoints stay; with 0 none is written, and no model either: the run is there for
  /// its figures.
  public var checkpointsKept = 2
  /// Steps between evaluations.
  public var evaluationInterval: Int
  /// The largest number of validation examples of one evaluation.
  public var evaluationExamples = 1024
  /// Whether each process keeps a part of the optimiser's state.
  public var shardsOptimizer = false

  /// Whether steps run as fused graphs: faster, after a first step that takes seconds on a CPU.
  public var compiles = true

  /// The document that the recipe was read from, to compare with that of a checkpoint.
  let document: String

  /// The learning rate of every step.
  var rates: Schedule {
    let (base, end) = (optimizer.rate, optimizer.rate * schedule.final)
    let rest = max(0, steps - schedule.warmUp)
    let curve: Schedule =
      switch schedule.kind {
      case .constant: .constant(base)
      case .cosine: .cosine(from: base, to: end, steps: rest)
      case .wsd:
        .joined(
          [.constant(base), .linear(from: base, to: end, steps: schedule.decay)],
          boundaries: [max(0, rest - schedule.decay)])
      }
    // A step at rate zero would be lost: the first of n steps has the nth part.
    guard schedule.warmUp > 0 else { return curve }
    let warmUp = schedule.warmUp
    return .joined(
      [Schedule { base * Double($0 + 1) / Double(warmUp) }, curve], boundaries: [warmUp])
  }
}
