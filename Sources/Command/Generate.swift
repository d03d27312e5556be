import ArgumentParser
import Foundation
import Tessera

struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Continue a text with a causal language model, converted or not.")

  @Argument(help: "A Hugging Face folder: config.json, model.safetensors, tokenizer.json.")
  var model: String

  @Option(help: "The text to continue.")
  var prompt: String

  @Option(help: "Tokens to add at most.")
  var tokens = 100

  @Option(help: "What logits are divided by; 0 takes the most probable token each time.")
  var temperature: Float = 0

  @Option(help: "The seed of the random numbers at a temperature above 0.")
  var seed: UInt64 = 0

  @Option(help: "Element type: f32, bf16 or f16.")
  var dtype = DType.float32

  @Flag(help: "Use a model even if its Strassen-Tile layers let it see later tokens.")
  var insist = false

  @OptionGroup var printing: OutputOptions

  func run() throws {
    let generator = try TextGenerator(
      folder: URL(filePath: model), structuredLayers: .standard(insisting: insist), dtype: dtype)
    try Interruption.watch()
    let line = ProgressLine()
    var count = 0
    let answer = try generator(
      prompt, count: tokens, sampling: Sampling(temperature: temperature, seed: seed)
    ) { _ in
      count += 1
      line.show("generate", count, tokens, nil)
      try Interruption.check()
    }
    try printing.print(answer) { answer.text }
  }
}
