"""What can go wrong through no fault of the code: each error names the place, the value, the rule and a remedy."""


class HazyError(Exception):
    """Base of every error that a user can mend; shown without a traceback by the command line."""


class ConfigurationError(HazyError):
    """A Generator's YAML (or an option given beside it) breaks a rule."""


class SourceError(HazyError):
    """The source cannot be reached or read as configured."""


class SourceChangedError(SourceError):
    """The source no longer holds the rows that the watermark speaks of; read a new watermark and start again."""


class DataError(HazyError):
    """The rows were read, but nothing can be learned from them as they are."""


class SchemaChangedError(DataError):
    """Columns or types differ from those the current champion was trained on."""


class ModelError(HazyError):
    """A model folder is damaged, of an unknown format, or asked for something that it cannot do."""


class ServiceError(HazyError):
    """A service (Airflow or MLflow on this machine, the database of the studies) cannot be started, reached or stopped."""
