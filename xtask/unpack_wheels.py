"""Unpacks libtorch from wheels: unpack_wheels.py WHEELS_FOLDER TARGET_FOLDER cpu|cuda.

Takes the headers and the shared libraries that a Rust program links, and leaves Python's part out.
Needs nothing but Python's standard library, since a fresh machine may have no unzip.
"""

import pathlib
import shutil
import sys
import zipfile

CPU_LIBRARIES = {
    "libtorch_cpu.so",
    "libc10.so",
    "libgomp.so.1",
    "libcudart.so.13",
    "libcupti.so.13",
}
PYTHON_LIBRARIES = {"libtorch_python.so", "libshm.so"}
# With torch-sys, a missing libtorch.so means "no libtorch here"; in the CPU set it is a linker
# script, because the wheel's own would need the CUDA libraries.
CPU_LINKER_SCRIPT = "INPUT(-ltorch_cpu)\n"


def is_library(name: str) -> bool:
    return "/lib/" in name and ".so" in name.rsplit("/", 1)[-1]


def main() -> None:
    wheels, target, variant = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
    libraries = target / "lib"
    libraries.mkdir(parents=True)
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                base = name.rsplit("/", 1)[-1]
                if name.startswith("torch/include/") and not name.endswith("/"):
                    output = target / "include" / name.removeprefix("torch/include/")
                elif is_library(name) and (variant == "cuda" or base in CPU_LIBRARIES):
                    if base in PYTHON_LIBRARIES:
                        continue
                    output = libraries / base
                else:
                    continue
                output.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, output.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    if variant == "cpu":
        (libraries / "libtorch.so").write_text(CPU_LINKER_SCRIPT)
        missing = CPU_LIBRARIES - {path.name for path in libraries.iterdir()}
        if missing:
            sys.exit(f"the wheels lack {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main()
