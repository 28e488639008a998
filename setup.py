from setuptools import setup

setup(cffi_modules=["uring/build.py:ffibuilder"])
