"""The ground floor: records, their Arrow schemas, errors, settings. It imports nothing else of the package."""
