import Testing

@testable import MLX

@Suite struct JSONTests {
  @Test(arguments: [
    "null", "true", "[]", "{}", "-0", "1e-12", "1.50E+3", #"["a",{"b":[1,2,{"c":null}]},false]"#,
    #"{"z":1,"a":2,"m":1e400}"#, #""\u0001 \"\\ é 🧵""#,
  ])
  func aDocumentComesOutAsItWentIn(_ text: String) throws {
    #expect(try JSON(parsing: text).encoded() == text)
    #expect(try JSON(parsing: JSON(parsing: text).encoded(indent: 2)) == JSON(parsing: text))
  }

  @Test func escapesAreRead() throws {
    let text = #""\ud83e\uddf5\u00e9\n\/\"\\\b\f\r\t""#
    #expect(try JSON(parsing: text) == .string("🧵é\n/\"\\\u{8}\u{C}\r\t"))
  }

  @Test(arguments: [
    "", " ", "01", "1.", ".5", "+1", "1e", "NaN", "-", "tru", "[1,]", "[1 2]", "{\"a\":1,}",
    "{\"a\"}", "{a:1}", "'a'", "\"a", "\"\n\"", #""\x""#, #""\u12g4""#, #""\ud800""#,
    #""\ud800\u0041""#, #""\udc00""#, "[1]]", "// no", "[", "{\"a\":",
  ])
  func otherTextsAreRefused(_ text: String) {
    #expect(throws: JSONError.self) { try JSON(parsing: text) }
  }

  @Test func keysKeepTheirOrder() throws {
    guard case .object(var object) = try JSON(parsing: #"{"b":1,"a":2}"#) else {
      Issue.record("not an object")
      return
    }
    object["c"] = .integer(3)
    object["b"] = .double(0.5)
    #expect(JSON.object(object).encoded() == #"{"b":0.5,"a":2,"c":3}"#)
    object["a"] = nil
    #expect(JSON.object(object).encoded(indent: 2) == "{\n  \"b\": 0.5,\n  \"c\": 3\n}")
  }
}
