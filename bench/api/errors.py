"""The expected failures of the contracts (`bench.errors`), each with its exit code."""

from bench.errors import BenchError as BenchError
from bench.errors import ContractError as ContractError
from bench.errors import CorruptArtifactError as CorruptArtifactError
from bench.errors import DivergedError as DivergedError
from bench.errors import IncompleteError as IncompleteError
from bench.errors import PrerequisiteError as PrerequisiteError
from bench.errors import ProtocolError as ProtocolError
from bench.errors import StoreError as StoreError
from bench.errors import UsageError as UsageError
from bench.errors import did_you_mean as did_you_mean
from bench.errors import together as together
from bench.errors import unknown as unknown
