"""A kind of device of "another package": one, which stands for an accelerator, and in truth is the CPU."""

import os

from bench.devices.cpu import Cpu


class Spare(Cpu):
    name = "spare"

    def slots(self):
        return ("spare:0",)

    def model(self, slot):
        return "a stand-in"

    def enter(self, slot, threads):
        return super().enter(f"cpu:{max(os.sched_getaffinity(0))}", threads)

    def describe(self):
        return {"device": "a stand-in"}


DEVICE = Spare()
