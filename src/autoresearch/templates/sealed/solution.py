"""Pack items into bins, one problem a line. This is the file to improve."""

import json
import sys

LARGE_FIRST = False
OPEN_BINS = 1  # how many of the last bins are looked at


def pack(capacity: int, sizes: list[int]) -> list[list[int]]:
    bins: list[list[int]] = []
    room: list[int] = []
    for item in sorted(range(len(sizes)), key=lambda i: -sizes[i]) if LARGE_FIRST else range(len(sizes)):
        for place in range(max(0, len(bins) - OPEN_BINS), len(bins)):
            if sizes[item] <= room[place]:
                bins[place].append(item)
                room[place] -= sizes[item]
                break
        else:
            bins.append([item])
            room.append(capacity - sizes[item])
    return bins


for line in sys.stdin:
    problem = json.loads(line)
    print(json.dumps(pack(problem["capacity"], problem["sizes"])))
