import Encoders
import Foundation
import MLX
import Models
import Reports
import TestSupport
import Testing

@testable import Conversion

@Suite struct EncoderPlotTests {
  private func plot() throws -> EncoderPlot {
    let groups = [try AbelianGroup([2, 2, 2]), try AbelianGroup([5])]
    return EncoderPlot(groups: try GroupTable(groups: groups, tile: 2, starts: 4, steps: 100))
  }

  @Test func everyFamilyIsThere() throws {
    let points = try plot().points
    let counts = Dictionary(grouping: points, by: \.family).mapValues(\.count)
    #expect(
      counts == [
        "exact": 7, "fitted, tile 2": 4, "fitted, tile 3": 14, "fitted, tile 4": 40,
        "Kronecker of tile 2": 15, "groups": 2,
      ])
    for point in points {
      #expect((0...1).contains(point.error) && (0...1).contains(point.share), "\(point)")
    }
    // Kronecker products of least squares optima: 1 − e is the product of both 1 − e.
    let small = try Encoder.named("fitted-2-6")
    let square = try #require(points.first { $0.name == "fitted-2-6-x-fitted-2-6" })
    let kept = 1 - small.error
    #expect(square.rank == 36 && abs(1 - square.error - kept * kept) <= 1e-4)
  }

  @Test func theChartHasTheLineAndThePapersPoint() throws {
    let text = try plot().chart.specification.encoded()
    #expect(text.contains("keep R of the t³ products") && text.contains("the paper: 24 of 64"))
    #expect(text.contains("fitted-4-24") && !text.contains("http"))
  }

  @Test func picturesAreWholeFilesOfTheirFormat() throws {
    let plot = try plot()
    try withTemporaryFolder { folder in
      let (svg, png) = (folder.appending(path: "a.svg"), folder.appending(path: "b.PNG"))
      guard (try? PythonInterpreter.find().folder(ofPackage: "vl_convert")) != nil else {
        #expect(throws: (any Error).self) { try plot.write(to: svg) }
        #expect(!FileManager.default.fileExists(atPath: svg.path))
        return
      }
      try plot.write(to: svg)
      try plot.write(to: png)
      #expect(try String(contentsOf: svg, encoding: .utf8).hasPrefix("<svg"))
      #expect(try Data(contentsOf: png).starts(with: [0x89, 0x50, 0x4E, 0x47]))
    }
    #expect(throws: ConversionError.self) { try plot.write(to: URL(filePath: "a.pdf")) }
  }
}
