"""The audit log of a server, for those who look after it."""

from ._identity.audit_files import AuditCheck, BrokenRecord, last_records, verify_audit
from ._identity.audit_head import kept_head
from ._identity.audit_records import Head

__all__ = ["AuditCheck", "BrokenRecord", "Head", "kept_head", "last_records", "verify_audit"]
