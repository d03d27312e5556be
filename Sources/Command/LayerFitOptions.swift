import ArgumentParser
import Tessera

/// The options of fits to single layers: which, on what, and how long.
struct LayerFitOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("Layers by path ('*' and '?'); may be given again.", valueName: "pattern"))
  var layers: [String]

  @Option(help: "How often encoder, decoder and weight take turns.")
  var alternations = 4

  @OptionGroup var examples: ExampleOptions

  func validate() throws {
    if layers.isEmpty { throw ValidationError("expected at least one --layers, got none.") }
    guard (0...1000).contains(alternations) else {
      throw ValidationError("expected --alternations of 0 to 1000, got \(alternations).")
    }
  }

  var patterns: [LayerPattern] { layers.map { LayerPattern($0) } }
}
