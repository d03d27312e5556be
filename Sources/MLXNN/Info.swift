/// A stored property of a module that reflection looks into: what it holds, and under which key.
protocol Info: AnyObject {
  /// The key that the wrapper names, `nil` for the property's own name.
  var key: String? { get }
  /// What the property holds.
  var content: Any { get }
  /// The type of the property, for messages.
  var type: Any.Type { get }
  /// Whether the property can hold this value.
  func accepts(_ value: Any) -> Bool
  /// Puts a value that ``accepts(_:)`` allows into the property.
  func replace(by value: Any)
}

/// A module, or an array or dictionary of modules, that
/// ``Module/update(modules:)`` may replace.
///
/// The key names it in checkpoints where that differs from the property:
///
/// ```swift
/// @ModuleInfo(key: "LayerNorm") var norm: LayerNorm
/// @ModuleInfo(key: "query") var query: any UnaryLayer
/// ```
///
/// In an initialiser, set `_norm.wrappedValue` before `super.init()` and `norm` after it.
@propertyWrapper
public final class ModuleInfo<Content>: Info {
  let key: String?
  private var stored: Content?

  /// A property that the initialiser of its module still sets.
  public init(key: String? = nil) {
    self.key = key
  }

  /// A property with its value.
  public init(wrappedValue: Content, key: String? = nil) {
    self.key = key
    stored = wrappedValue
  }

  /// What the property holds.
  public var wrappedValue: Content {
    get {
      guard let stored else {
        preconditionFailure("a property of type \(Content.self) was read before its module set it")
      }
      return stored
    }
    set { stored = newValue }
  }

  var content: Any { wrappedValue }
  var type: Any.Type { Content.self }

  func accepts(_ value: Any) -> Bool { value is Content }

  func replace(by value: Any) {
    if let value = value as? Content { stored = value }
  }
}

/// A parameter, or an array or dictionary of parameters, with the key that names it in checkpoints:
/// the wrapper of modules under the name that says what it holds.
///
/// ```swift
/// @ParameterInfo(key: "weight_g") var gain: MLXArray
/// ```
///
/// In an initialiser, set `_gain.wrappedValue` before `super.init()` and `gain` after it.
public typealias ParameterInfo = ModuleInfo

extension ModuleInfo where Content: ExpressibleByNilLiteral {
  /// An optional property, `nil` until it is set.
  public convenience init(key: String? = nil) {
    self.init(wrappedValue: nil, key: key)
  }
}
