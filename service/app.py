"""The Flask app: wiring only."""

import logging
import time
from typing import Any

from flask import Flask, Response, current_app, g, request
from flask.json.provider import DefaultJSONProvider
from flask_openapi3 import Info, OpenAPI
from werkzeug.routing import BaseConverter

from captioner.captioner import Captioner
from service import page, training_process
from service.access.auth import Guard, admin_token, needs_token, takes_large_body
from service.access.origins import HostCheckedRequest, refuse_untrusted
from service.access.rates import is_upload, limit_rates
from service.api import (
    captions,
    collection_exports,
    collection_photos,
    collections,
    datasets,
    health,
    models,
    occlusion,
    pictures,
    steps,
    trainings,
    translations,
)
from service.api.operations import current_service
from service.errors import ProblemDocument, handle_errors, invalid_request
from service.hosts import read_names, trusted_names
from service.http.headers import API_POLICY, HEADERS, documentation_policy
from service.inference.captioning import CaptionService
from service.settings import Settings
from service.store.photos import ID_PATTERN
from service.store.versions import VERSION_PATTERN

log = logging.getLogger("service.requests")

_DESCRIPTION = """\
Captions of photos with an attention map for each word: Show, Attend and Tell (Xu et al. 2015) as a service.

All errors are problem details (RFC 9457, `application/problem+json`). `detail` says what is wrong and what to do."""


class _Json(DefaultJSONProvider):
    """JSON bodies; too deeply nested ones are invalid."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        try:
            return super().loads(s, **kwargs)
        except RecursionError as error:
            raise ValueError("the JSON is nested too deeply") from error


class CaptionIdConverter(BaseConverter):
    """Route converter for ids; other values get 404."""

    regex = ID_PATTERN


class VersionConverter(BaseConverter):
    """Route converter for model versions."""

    regex = VERSION_PATTERN


def create_app(
    settings: Settings, captioner: Captioner | None = None, run_training: training_process.Run = training_process.run
) -> Flask:
    """Create the WSGI app, with its model loaded. `app.extensions["captioner"]` is its CaptionService.

    captioner: by default read from `settings.bundle`. run_training: as in CaptionService.
    Raises CaptionerError if the service cannot start.
    """
    settings.make_home()
    token, _ = admin_token(settings)
    service = CaptionService(settings, captioner, run_training)
    app = OpenAPI(
        __name__,
        info=Info(title="Captioner", version="1", description=_DESCRIPTION),
        validation_error_model=ProblemDocument,
        validation_error_callback=invalid_request,
        security_schemes={"token": {"type": "http", "scheme": "bearer"}},
        static_folder=None,
    )
    app.json = _Json(app)
    app.request_class = HostCheckedRequest
    app.config["TRUSTED_HOSTS"] = trusted_names(settings.host, settings.trusted_hosts)
    app.config["TRUSTED_ORIGINS"] = read_names(settings.trusted_hosts)
    log.info("Trusted hosts: IP addresses and %s", ", ".join(app.config["TRUSTED_HOSTS"]))
    app.config["MAX_CONTENT_LENGTH"] = settings.max_upload_bytes
    app.url_map.converters["caption_id"] = CaptionIdConverter
    app.url_map.converters["version"] = VersionConverter
    app.extensions["captioner"] = service
    app.extensions["guard"] = Guard(token, settings.redis)
    for resource in (captions, occlusion, steps, pictures, translations, datasets, trainings, models, health):
        app.register_api(resource.api)
    for resource in (collections, collection_photos, collection_exports):
        app.register_api(resource.api)
    app.register_blueprint(health.metrics)
    app.register_blueprint(page.page)
    app.before_request(_start_timer)
    app.before_request(refuse_untrusted)
    app.before_request(_check_token)
    limit_rates(app, settings.requests_per_minute, settings.redis, settings.max_upload_bytes)
    app.before_request(_check_storage_limit)
    app.after_request(_add_security_headers)
    app.after_request(_record_request)
    handle_errors(app)
    return app


def _start_timer() -> None:
    g.started_at = time.perf_counter()


def _check_token() -> None:
    authorization = request.headers.get("Authorization")
    is_large = takes_large_body(request.method, request.path)
    # A token that is not needed, but allows a larger body, is checked as well.
    if needs_token(request.method, request.path) or (is_large and authorization):
        current_app.extensions["guard"].check(authorization, request.remote_addr or "")
        if is_large:
            request.max_content_length = current_service().settings.max_dataset_bytes


def _check_storage_limit() -> None:
    """Refuse an upload that exceeds the storage limit, before its body is read."""
    if is_upload(request.method, request.path):
        service, size = current_service(), request.content_length or 0
        service.storage.reserve(size)
        if request.path.startswith("/api/collections"):
            service.collection_storage.reserve(size)


def _add_security_headers(response: Response) -> Response:
    documentation = request.blueprint in ("openapi", "swagger")
    is_page = documentation and response.mimetype == "text/html" and not response.direct_passthrough
    policy = documentation_policy(response.get_data(as_text=True)) if is_page else API_POLICY
    response.headers.setdefault("Content-Security-Policy", policy)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if not documentation:
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _record_request(response: Response) -> Response:
    seconds = time.perf_counter() - g.started_at
    route = request.url_rule.rule if request.url_rule else "none"
    method = request.method if request.url_rule else "any"  # clients must not create new labels
    current_service().metrics.request(method, route, response.status_code, seconds)
    log.info("%s %s %d %.0f ms", request.method, request.path, response.status_code, 1000 * seconds)
    return response
