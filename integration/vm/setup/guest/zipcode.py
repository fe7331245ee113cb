"""Keeps what Python compiles of the modules in zip files, as it does with those in directories.

Ansible sends each module as a zip file with all that it imports, and an emulated processor compiles that for
seconds. The .pth file beside this one imports it at the start of each Python.
"""

import _imp
import marshal
import os
import sys
import zipimport

KEPT = "/run/zipcode"


def keep(compile_source):
    def kept(pathname, source):
        name = "%s/%s" % (KEPT, _imp.source_hash(sys.hexversion, source).hex())
        try:
            with open(name, "rb") as f:
                return marshal.load(f)
        except OSError:
            pass
        code = compile_source(pathname, source)
        os.makedirs(KEPT, exist_ok=True)
        with open("%s.%d" % (name, os.getpid()), "wb") as f:
            marshal.dump(code, f)
        os.rename(f.name, name)
        return code

    return kept


if os.geteuid() == 0:
    zipimport._compile_source = keep(zipimport._compile_source)
