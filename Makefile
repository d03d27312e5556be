# Each target does all of its own set-up: see scripts/setup.
.PHONY: demo test bench build lint docs gpu-bundle setup clean
.DEFAULT_GOAL := build

setup:
	@scripts/setup

build: setup
	swift build -c release --product tessera

demo: build
	@scripts/demo

test: setup
	swift build --build-tests
	swift test --skip-build

bench: build
	@scripts/bench

lint:
	swift format lint --strict --recursive Sources Tests Package.swift

docs: setup
	@scripts/docs

# A static program, and MLX's CUDA library with it, for a GPU host without Swift or a network.
gpu-bundle: setup
	@scripts/gpu-bundle

clean:
	swift package clean
