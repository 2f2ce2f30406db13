"""`make bench`: every benchmark that needs nothing but this checkout."""

from benchmarks import generation

print("## Generation\n")
generation.main()
