"""Security headers of every response."""

import base64
import hashlib
import re

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}

API_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""Content-Security-Policy of API responses. HTML pages set their own."""

_INLINE = re.compile(r"<script>(.*?)</script>|\bonclick=\"([^\"]*)\"", re.DOTALL)


def documentation_policy(html: str) -> str:
    """Return the Content-Security-Policy of an API documentation page. It allows the page's own inline scripts only.

    Inline styles are allowed because Swagger UI sets them.
    """
    inline = sorted({_sha256(script or handler) for script, handler in _INLINE.findall(html)})
    scripts = " ".join(["script-src 'self'", *(["'unsafe-hashes'"] if inline else []), *inline])
    return (
        f"default-src 'none'; {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _sha256(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
