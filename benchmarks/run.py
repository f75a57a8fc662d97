"""All benchmarks, one after the other: make bench."""

from __future__ import annotations

import accuracy
import coldstart
import cost
import latency
import rehearsal
import speed
import throughput

import synth

if __name__ == "__main__":
    for table in (latency, coldstart, cost, speed, throughput, synth, rehearsal, accuracy):
        table.main()
