extension ImageAugmentation {
  /// Reads a recipe's `augmentation`.
  init(_ section: RecipeSection?) {
    self.init()
    guard let section else { return }
    cropPadding = section.integer("crop", in: 0...1024, default: 0)
    flips = section.bool("flip", default: false)
    mixup = Float(section.number("mixup", from: 0, default: 0))
    cutmix = Float(section.number("cutmix", from: 0, default: 0))
    if let operations = section.section("random") {
      randAugment = RandAugment(
        operations: operations.integer("operations", in: 1...14, default: 2),
        magnitude: Float(operations.number("magnitude", from: 0, to: 10, default: 9)))
      operations.finish()
    }
    section.finish()
    do throws(DatasetError) {
      try validate()
    } catch {
      section.notes.problems.append("\(error)")
    }
  }
}
