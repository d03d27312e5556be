"""Compiles a file of Sources/Kernels/DeviceCode with NVRTC, as the library does, and launches it on torch's stream."""

import ctypes
import glob
import hashlib
import os
import site
import sys
import threading

ROOT = os.environ.get("TESSERA_DEVICE_CODE") or os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../../Sources/Kernels/DeviceCode")
ELEMENTS = {"bfloat16": 0, "float16": 1, "float32": 2}


def _load_nvrtc():
    folders = [os.path.join(p, "nvidia/cu13/lib") for p in sys.path + site.getsitepackages()]
    folders += ["/usr/local/cuda/lib64"]
    for folder in folders:
        found = sorted(glob.glob(os.path.join(folder, "libnvrtc.so*")))
        if found:
            for builtins in glob.glob(os.path.join(folder, "libnvrtc-builtins.so*")):
                ctypes.CDLL(builtins, mode=ctypes.RTLD_GLOBAL)
            return ctypes.CDLL(found[-1])
    raise RuntimeError("libnvrtc not found")


_nvrtc = None


def cached_cubin(file, name, defines=None, arch="sm_90a"):
    """As compile_cubin, kept under $TESSERA_CUBINS if that is set."""
    folder = os.environ.get("TESSERA_CUBINS")
    if not folder:
        return compile_cubin(file, name, defines, arch)[0]
    key = hashlib.sha256(repr((file, name, sorted((defines or {}).items()), arch)).encode())
    for source in sorted(glob.glob(os.path.join(ROOT, "**/*.cu*"), recursive=True)):
        with open(source, "rb") as f:
            key.update(f.read())
    path = os.path.join(folder, key.hexdigest()[:24])
    if not os.path.exists(path):
        cubin = compile_cubin(file, name, defines, arch)[0]
        os.makedirs(folder, exist_ok=True)
        part = f"{path}.{threading.get_ident()}"
        with open(part, "wb") as f:
            f.write(cubin)
        os.replace(part, path)
    with open(path, "rb") as f:
        return f.read()


def compile_cubin(file, name, defines=None, arch="sm_90a", verbose=False):
    """The cubin of `file` with its kernel renamed `name`, and the compiler's log."""
    global _nvrtc
    _nvrtc = _nvrtc or _load_nvrtc()
    with open(os.path.join(ROOT, file)) as f:
        source = f.read().encode()
    options = [f"--gpu-architecture={arch}", "--std=c++17", f"-I{ROOT}", f"-DTESSERA_KERNEL={name}"]
    options += [f"-DTESSERA_{k}={v}" for k, v in (defines or {}).items()]
    if verbose:
        options.append("--ptxas-options=-v")
    program = ctypes.c_void_p()
    _nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, file.encode(), 0, None, None)
    array = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
    status = _nvrtc.nvrtcCompileProgram(program, len(options), array)
    size = ctypes.c_size_t()
    _nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    _nvrtc.nvrtcGetProgramLog(program, log)
    text = log.value.decode()
    if status:
        raise RuntimeError(f"{file} ({name}): {text}")
    _nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    cubin = ctypes.create_string_buffer(size.value)
    _nvrtc.nvrtcGetCUBIN(program, cubin)
    _nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return cubin.raw, text


class Kernel:
    """A compiled kernel; call it with (grid, threads, arguments): tensors, ints and bools, in the order of its parameters."""

    _cuda = None

    def __init__(self, file, name, defines=None, shared=0, arch="sm_90a", cluster=1):
        self.name, self.shared, self.function, self.cluster = name, shared, None, cluster
        self.cubin = cached_cubin(file, name, defines, arch)

    def _check(self, status):
        if status:
            message = ctypes.c_char_p()
            Kernel._cuda.cuGetErrorString(status, ctypes.byref(message))
            raise RuntimeError(f"{self.name}: {status} {message.value}")

    def _load(self):
        if Kernel._cuda is None:
            Kernel._cuda = ctypes.CDLL("libcuda.so.1")
        module, self.function = ctypes.c_void_p(), ctypes.c_void_p()
        self._check(Kernel._cuda.cuModuleLoadData(ctypes.byref(module), self.cubin))
        self._check(Kernel._cuda.cuModuleGetFunction(ctypes.byref(self.function), module, self.name.encode()))
        if self.shared > 48000:
            self._check(Kernel._cuda.cuFuncSetAttribute(self.function, 8, self.shared))
        if self.cluster > 8:
            self._check(Kernel._cuda.cuFuncSetAttribute(self.function, 14, 1))

    def resident_clusters(self, threads):
        """How many clusters the device runs at a time."""
        if self.function is None:
            self._load()

        class Attribute(ctypes.Structure):
            _fields_ = [("id", ctypes.c_int), ("pad", ctypes.c_int), ("value", ctypes.c_uint * 16)]

        class Configuration(ctypes.Structure):
            _fields_ = [("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3), ("shared", ctypes.c_uint),
                        ("stream", ctypes.c_void_p), ("attributes", ctypes.POINTER(Attribute)), ("count", ctypes.c_uint)]

        attribute = Attribute(4, 0, (self.cluster, 1, 1))
        configuration = Configuration((1024 * self.cluster, 1, 1), (threads, 1, 1), self.shared, None, ctypes.pointer(attribute), 1)
        result = ctypes.c_int()
        self._check(Kernel._cuda.cuOccupancyMaxActiveClusters(
            ctypes.byref(result), self.function, ctypes.byref(configuration)))
        return result.value

    def __call__(self, grid, threads, *arguments):
        import torch
        if self.function is None:
            self._load()
        values = []
        for x in arguments:
            if x is None:
                values.append(ctypes.c_void_p(None))
            elif isinstance(x, torch.Tensor):
                values.append(ctypes.c_void_p(x.data_ptr()))
            elif isinstance(x, bool):
                values.append(ctypes.c_bool(x))
            else:
                values.append(ctypes.c_int(x))
        pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(v) for v in values])
        grid = tuple(grid) if isinstance(grid, (tuple, list)) else (grid,)
        grid += (1,) * (3 - len(grid))
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        self._check(Kernel._cuda.cuLaunchKernel(
            self.function, *grid, threads, 1, 1, self.shared, stream, pointers, None))
