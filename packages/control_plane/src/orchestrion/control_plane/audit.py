"""The audit log of a server, for those who look after it."""

from ._identity.audit_files import AuditCheck, BrokenRecord, verify_audit
from ._identity.audit_records import Head

__all__ = ["AuditCheck", "BrokenRecord", "Head", "verify_audit"]
