"""CTs and their labels become training data: subjects, virtual patients, occupancy truth."""
