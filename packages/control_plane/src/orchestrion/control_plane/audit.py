"""The audit log of a server, for those who look after it."""

from ._identity.audit_files import AuditCheck, BrokenRecord, last_records, verify_audit
from ._identity.audit_records import Head

__all__ = ["AuditCheck", "BrokenRecord", "Head", "last_records", "verify_audit"]
