import Testing

@testable import Training

@Suite struct ProcessGroupTests {
  /// Each process would wait for the first on its own host.
  @Test func processesOfSeveralHostsNeedAPlaceToMeet() throws {
    let local = "OMPI_COMM_WORLD_LOCAL_SIZE"
    for environment in [[:], [local: "4"], [local: "2", "NCCL_HOST_IP": "10.0.0.1"]] {
      try ProcessGroup.checkMeetingPlace(environment, size: 4)
    }
    let error = try #require(throws: TrainingError.self) {
      try ProcessGroup.checkMeetingPlace([local: "3"], size: 4)
    }
    #expect(error.description.contains("1 of 4 processes are on other hosts"))
    #expect(error.description.contains("-x NCCL_HOST_IP="))
  }

  @Test func aProcessAloneGathersItsOwn() throws {
    #expect(try ProcessGroup.single.gather([3, 4]) == [[3, 4]])
  }
}
