// swift-tools-version: 6.2
import PackageDescription

/// The MLX wheel that `scripts/setup` installs; `.mlx` is a link to it inside the checkout.
let mlx = Context.packageDirectory + "/.mlx"

let swift: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .treatAllWarnings(as: .error),
]

/// A library target in `Sources/`, described by what it may import: arrows only point down this list.
func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: swift)
}

func tests(
  of name: String, _ dependencies: [Target.Dependency] = [], golden: Bool = false
) -> Target {
  .testTarget(
    name: "\(name)Tests",
    dependencies: [.byName(name: name), "TestSupport"] + dependencies,
    resources: golden ? [.copy("Golden")] : [],
    swiftSettings: swift)
}

let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let collections = Target.Dependency.product(
  name: "OrderedCollections", package: "swift-collections")
let numerics = Target.Dependency.product(name: "RealModule", package: "swift-numerics")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

/// What `Tessera` exports again.
///
/// Its importers name these too: a build that goes on from an earlier one does not compile an importer anew when only
/// the layout of a type behind the re-export changed, and the program then reads it by the old layout.
let everything: [Target.Dependency] = [
  "MLX", "MLXNN", "MLXOptimizers", "Kernels", "Encoders", "Operators", "Layers", "Models",
  "Reports", "Conversion", "Training",
]

let package = Package(
  name: "tessera",
  products: [
    .library(name: "Tessera", targets: ["Tessera"]),
    .executable(name: "tessera", targets: ["Command"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-numerics", from: "1.1.1"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.5.0"),
  ],
  targets: [
    // OpenBLAS is named before libmlx: the wheel carries the reference BLAS, and the first
    // definition of cblas_sgemm that the loader meets is the one that MLX's matmul runs on.
    .target(
      name: "CMLX",
      cxxSettings: [.unsafeFlags(["-isystem", "\(mlx)/include"])],
      linkerSettings: [
        .unsafeFlags(["-L\(mlx)/lib", "-Xlinker", "-rpath", "-Xlinker", "\(mlx)/lib"]),
        .linkedLibrary("openblas"),
        .linkedLibrary("mlx"),
      ]),
    library("MLX", ["CMLX"]),
    library("MLXNN", ["MLX", "Kernels", collections]),
    library("MLXOptimizers", ["MLX", "MLXNN", "Kernels", collections]),
    // The device code, embedded with C23's #embed: a program carries all of it.
    .target(
      name: "CDeviceCode", path: "Sources/Kernels/Embedded",
      cSettings: [.unsafeFlags(["-std=gnu23"])]
    ),
    // Always optimised: a debug build would spend its tests in it.
    .target(
      name: "CCPUKernels", path: "Sources/Kernels/CPUKernels",
      cSettings: [.unsafeFlags(["-O3", "-Wall", "-Wextra", "-Werror"])]),
    .target(
      name: "Kernels", dependencies: ["MLX", "CDeviceCode", "CCPUKernels"], path: "Sources/Kernels",
      exclude: ["DeviceCode", "Embedded", "CPUKernels"], swiftSettings: swift),
    library("Encoders", [numerics]),
    library("Operators", ["MLX", "Kernels", "Encoders", collections, numerics]),
    library("Layers", ["MLX", "MLXNN", "Kernels", "Operators", collections]),
    library("Models", ["MLX", "MLXNN", "Kernels", "Operators", "Layers", collections]),
    library("Reports", ["MLX", "Models"]),
    library(
      "Conversion",
      [
        "MLX", "MLXNN", "MLXOptimizers", "Kernels", "Operators", "Layers", "Models", "Reports",
        "Training", collections,
      ]),
    library(
      "Training",
      [
        "MLX", "MLXNN", "MLXOptimizers", "Operators", "Layers", "Models", "Reports", collections,
        yams,
      ]),
    library("Tessera", everything),
    .executableTarget(
      name: "Command", dependencies: everything + ["Tessera", arguments], swiftSettings: swift),
    .target(
      name: "TestSupport", dependencies: ["MLX", numerics], path: "Tests/TestSupport",
      swiftSettings: swift),
    tests(of: "MLX", golden: true),
    tests(of: "MLXNN", ["MLXOptimizers", collections], golden: true),
    tests(of: "Kernels", ["MLX"]),
    tests(of: "Encoders"),
    tests(of: "Operators", ["Encoders", collections], golden: true),
    tests(of: "Layers", ["MLXNN", "Operators", "Models", collections]),
    tests(of: "Models", ["MLXNN", "Operators", "Layers", collections], golden: true),
    tests(
      of: "Conversion",
      ["MLXNN", "Operators", "Layers", "Models", "Reports", "Training", collections]),
    tests(
      of: "Training",
      ["MLXNN", "MLXOptimizers", "Operators", "Layers", "Models", "Reports", collections]),
    tests(of: "Command", everything + ["Tessera", collections]),
  ],
  swiftLanguageModes: [.v6],
  cxxLanguageStandard: .cxx20
)
