"""Which Titian this is: written here once, and read without looking through what is installed (20 ms)."""

VERSION = "0.1.0"
