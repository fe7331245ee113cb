"""vmlinux.py BZIMAGE OUT: the uncompressed kernel, which an emulated processor starts seconds sooner."""
import subprocess
import sys

data = open(sys.argv[1], "rb").read()
for magic, unpack in ((b"\x28\xb5\x2f\xfd", ["zstd", "-dc"]), (b"\xfd7zXZ\0", ["xz", "-dc", "--single-stream"])):
    at = data.find(magic)
    while at >= 0:
        out = subprocess.run(unpack, input=data[at:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        if out[:4] == b"\x7fELF":
            open(sys.argv[2], "wb").write(out)
            sys.exit()
        at = data.find(magic, at + 1)
sys.exit("no kernel in " + sys.argv[1])
