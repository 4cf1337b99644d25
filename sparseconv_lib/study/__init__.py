"""The study built on the library: data, protocols, trainings, records, statistics, figures."""
