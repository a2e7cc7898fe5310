"""A small Redfish service in the shapes of the published DMTF schemas, on the tests' HTTP server.

Sessions (SessionService), Chassis with EnvironmentMetrics 1.x, PowerSubsystem → PowerSupplies → PowerSupplyMetrics,
ThermalSubsystem → CoolantConnectors, and the older Power resource. Numbers are set by the test.
"""

from __future__ import annotations

import json
from typing import Any

from tests.support.web import Reply, Request, Web

ROOT = "/redfish/v1"
SESSIONS = f"{ROOT}/SessionService/Sessions"


def at(path: str) -> dict[str, str]:
    return {"@odata.id": path}


def collection(*paths: str) -> dict[str, Any]:
    return {"Members@odata.count": len(paths), "Members": [at(p) for p in paths]}


def excerpt(value: float | None, **more: Any) -> dict[str, Any]:
    return {"DataSourceUri": f"{ROOT}/Chassis/1/Sensors/x", "Reading": value, **more}


class Service:
    def __init__(self, web: Web, user: str = "", password: str = "", sessions: bool = True) -> None:
        self.web, self.user, self.password, self.sessions = web, user, password, sessions
        self.tokens: set[str] = set()
        self.put(f"{ROOT}/", {"Chassis": at(f"{ROOT}/Chassis"), "RedfishVersion": "1.18.0"})
        if sessions:
            web.pages[SESSIONS] = self._login

    def put(self, path: str, resource: dict[str, Any]) -> None:
        def page(request: Request) -> Reply:
            if not self._allowed(request):
                return 401, {}, {"error": {"code": "Base.1.8.AccessDenied"}}
            return 200, {}, {"@odata.id": path, "Id": path.rsplit("/", 1)[-1], **resource}

        self.web.pages[path] = page

    def chassis(self, *ids: str, **links: dict[str, Any]) -> None:
        self.put(f"{ROOT}/Chassis", collection(*(f"{ROOT}/Chassis/{i}" for i in ids)))
        for i in ids:
            self.put(f"{ROOT}/Chassis/{i}", {"ChassisType": "RackMount", **links})

    def _allowed(self, request: Request) -> bool:
        import base64

        basic = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return (
            not self.user
            or request.headers.get("X-Auth-Token") in self.tokens
            or request.headers.get("Authorization") == f"Basic {basic}"
        )

    def _login(self, request: Request) -> Reply:
        asked = json.loads(request.body or b"{}")
        if (asked.get("UserName"), asked.get("Password")) != (self.user, self.password):
            return 401, {}, {"error": {"code": "Base.1.8.ResourceAtUriUnauthorized"}}
        token = f"token-{len(self.tokens)}"
        self.tokens.add(token)
        self.web.pages[f"{SESSIONS}/{token}"] = lambda _: (self.tokens.discard(token), (204, {}, b""))[1]
        return 201, {"X-Auth-Token": token, "Location": f"{SESSIONS}/{token}"}, {"Id": token}
