"""How many minutes does a delivery take? The one file to edit.

Reads rows of km,parcels,hour,rain and prints one number of minutes a row.
"""

import sys

START = 6.0  # knob: 0..20
PER_KM = 2.0  # knob: 0..6
PER_PARCEL = 0.5  # knob: 0..3
RAIN = 1.0  # knob: 0.5..2
RUSH = 1.0  # knob: 0.5..2
RUSH_HOURS = (8, 9)  # knob: off


def minutes(km: float, parcels: int, hour: int, rain: int) -> float:
    slower = (RAIN if rain else 1.0) * (RUSH if hour in RUSH_HOURS else 1.0)
    return START + PER_KM * km * slower + PER_PARCEL * parcels


def main() -> None:
    for line in sys.stdin:
        km, parcels, hour, rain = line.split(",")
        print(minutes(float(km), int(parcels), int(hour), int(rain)))


if __name__ == "__main__":
    main()
