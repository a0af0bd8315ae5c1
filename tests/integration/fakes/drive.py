"""drive.py: Google Drive's API v3 and Google's token endpoint, as they are documented, for one account.

    with Drive() as drive:
        folder = drive.folder("Handbook")
        doc = drive.doc("Welcome", "# Welcome\\n", folder)
        config = {"keyFile": str(drive.write_key(tmp_path)), "baseUrl": drive.url}
        drive.rename(doc, "Hello")
        drive.trash(folder)

Files are known by their ids. Only the fields that `fields` asks for are given. Each corpus has its own
feed of changes, with the latest entry of each file only.
"""

import atexit
import base64
import functools
import hashlib
import itertools
import json
import re
import secrets
import subprocess
import tempfile
import time
import urllib.parse

from fakes.service import Service, answer

GOOGLE = "application/vnd.google-apps."
FOLDER, SHORTCUT = GOOGLE + "folder", GOOGLE + "shortcut"
DOCUMENT, SHEET, SLIDES = GOOGLE + "document", GOOGLE + "spreadsheet", GOOGLE + "presentation"
ROOT = "0AMyDriveRoot"
EXPORT_MOST = 10 * 1024 * 1024
SCOPE = "https://www.googleapis.com/auth/drive.readonly"


@functools.cache
def key_pair(number):
    """The files of a private and a public key, made once in a process."""
    directory = tempfile.TemporaryDirectory(prefix="drive")
    atexit.register(directory.cleanup)
    private, public = f"{directory.name}/private{number}.pem", f"{directory.name}/public{number}.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048",
                    "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True,
                   capture_output=True)
    return private, public


def error(status, reason, message, headers=(), **location):
    return answer(status, {"error": {
        "code": status, "message": message,
        "errors": [{"message": message, "domain": "global", "reason": reason, **location}],
    }}, headers)


def not_found(what):
    return error(404, "notFound", f"File not found: {what}.", location="fileId",
                 locationType="parameter")


def parse_fields(text):
    """"a,b(c,d)" becomes {"a": None, "b": {"c": None, "d": None}}."""
    def parse(at):
        fields = {}
        name = ""
        while at < len(text):
            c = text[at]
            if c == "(":
                fields[name], at = parse(at + 1)
                name = ""
            elif c in ",)":
                if name:
                    fields[name] = None
                name = ""
                if c == ")":
                    return fields, at
            else:
                name += c
            at += 1
        if name:
            fields[name] = None
        return fields, at

    return parse(0)[0]


def select(value, fields):
    if fields is None or not isinstance(value, (dict, list)):
        return value
    if isinstance(value, list):
        return [select(element, fields) for element in value]
    return {name: select(value[name], below) for name, below in fields.items() if name in value}


def unpad(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Drive(Service):
    EMAIL = "sync@project.iam.gserviceaccount.com"
    CLIENT, CLIENT_SECRET, REFRESH_TOKEN = "client-1", "GOCSPX-hush-secret", "1//hush-refresh"

    def __init__(self, number=0, **keywords):
        """number: of the key; servers with the same one have the same."""
        self.private, self.public = key_pair(number)
        self.files = {}     # id -> resource, with "_content" or "_exports" of its own
        self.drives = {}    # id -> name, of which the account is a member
        self.feeds = {"": {}}  # corpus -> {file or drive: (number, entry)}
        self.number = itertools.count(100)
        self.ids = itertools.count(1)
        self.clock = itertools.count(0)
        self.page = 1000    # the most entries of a page
        self.tokens = {}    # access token -> when it expires
        self.life = 3600    # of a token, in seconds
        self.skew = 0       # of this server's clock
        self.subjects = {None}
        self.forgetful = False  # gives children of the first only of several parents, as Drive does at times
        self.forgotten = 0  # page tokens of changes below this are not known any more
        self.forgotten_status = 410
        super().__init__(**keywords)

    # ---- For tests: the credentials ----

    def write_key(self, directory, **changes):
        path = directory / "key.json"
        with open(self.private) as pem:
            path.write_text(json.dumps({
                "type": "service_account", "private_key_id": "k1", "private_key": pem.read(),
                "client_email": self.EMAIL, "token_uri": f"{self.url}/token", **changes}))
        path.chmod(0o600)
        return path

    def expire_tokens(self):
        with self.lock:
            self.tokens.clear()

    # ---- For tests: what there is ----

    def _now(self):
        seconds = next(self.clock)
        return f"2026-11-01T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.000Z"

    def _tell(self, file, removed=False):
        entry = {"changeType": "file", "removed": removed, "fileId": file["id"], "kind": "drive#change"}
        # Of a drive that the account is no member of, the user's feed tells.
        feed = file.get("driveId") if file.get("driveId") in self.drives else ""
        self.feeds[feed][file["id"]] = (next(self.number), entry)

    def make(self, name, mime, parent=ROOT, content=None, exports=None, **more):
        with self.lock:
            number = next(self.ids)
            made = {
                "id": f"1{number:04d}x{hashlib.md5(str(number).encode()).hexdigest()[:10]}",
                "name": name, "mimeType": mime, "trashed": False, "version": "1",
                "createdTime": self._now(), "modifiedTime": self._now(),
                "capabilities": {"canDownload": True}, **more,
            }
            made["webViewLink"] = f"https://drive.google.com/file/d/{made['id']}/view"
            if parent is not None:
                made["parents"] = [parent] if isinstance(parent, str) else list(parent)
                above = self.files.get(made["parents"][0])
                drive = made["parents"][0] if made["parents"][0] in self.drives else \
                    above.get("driveId") if above else None
                if drive:
                    made["driveId"] = drive
            if "driveId" not in made:
                made["owners"] = [{"emailAddress": "ann@example.com", "displayName": "Ann"}]
            if content is not None:
                self._fill(made, content)
            if exports is not None:
                made["_exports"] = exports
            self.files[made["id"]] = made
            self._tell(made)
            return made["id"]

    def _fill(self, file, content):
        content = content.encode() if isinstance(content, str) else content
        file["_content"] = content
        file["md5Checksum"] = hashlib.md5(content).hexdigest()
        file["size"] = str(len(content))

    def folder(self, name, parent=ROOT, **more):
        return self.make(name, FOLDER, parent, **more)

    def text(self, name, content, parent=ROOT, mime="text/plain", **more):
        return self.make(name, mime, parent, content=content, **more)

    def doc(self, name, markdown, parent=ROOT, **more):
        return self.make(name, DOCUMENT, parent,
                         exports={"text/markdown": markdown, "text/plain": markdown}, **more)

    def shortcut(self, name, target, parent=ROOT):
        details = {"targetId": target, "targetMimeType": self.files[target]["mimeType"]}
        return self.make(name, SHORTCUT, parent, shortcutDetails=details)

    def add_drive(self, name, id=None):
        with self.lock:
            id = id or f"0AS{next(self.ids):04d}"
            self.drives[id] = name
            self.feeds[id] = {}
            return id

    def _touch(self, id, content=False):
        file = self.files[id]
        file["version"] = str(int(file["version"]) + 1)
        if content:
            file["modifiedTime"] = self._now()
        self._tell(file)

    def rename(self, id, name):
        with self.lock:
            self.files[id]["name"] = name
            self._touch(id)

    def rename_drive(self, id, name):
        with self.lock:
            self.drives[id] = name
            entry = {"changeType": "drive", "removed": False, "driveId": id, "drive": {"id": id, "name": name}}
            self.feeds[id][id] = (next(self.number), entry)

    def edit(self, id, content):
        with self.lock:
            file = self.files[id]
            if "_exports" in file:
                file["_exports"] = {mime: content for mime in file["_exports"]}
            else:
                self._fill(file, content)
            self._touch(id, content=True)

    def view(self, id):
        """Somebody looks at it: it has an entry in the feed, and is as it was."""
        with self.lock:
            self._touch(id)

    def move(self, id, parent):
        with self.lock:
            self.files[id]["parents"] = [parent]
            self._touch(id)

    def trash(self, id, trashed=True):
        """Only what is put there has an entry, not what is below it."""
        with self.lock:
            self.files[id]["trashed"] = trashed
            self._touch(id)

    def children(self, id):
        return [file["id"] for file in self.files.values() if id in file.get("parents", ())]

    def delete(self, id):
        """For good, with everything below."""
        with self.lock:
            for child in self.children(id):
                self.delete(child)
            self._tell(self.files.pop(id), removed=True)

    def withdraw(self, id, but=()):
        """The account may not see a folder any more, but for some files below that are shared with
        it by themselves. Only the folder has an entry."""
        with self.lock:
            below = [id]
            for folder in below:
                below += self.children(folder)
            self._tell(self.files[id], removed=True)
            for one in below:
                if one in but:
                    self.files[one].pop("parents")
                else:
                    del self.files[one]

    # ---- Serving ----

    def handle(self, request):
        with self.lock:
            if request.path == "/token":
                return self._token(request)
            refused = self._authorize(request)
            if refused:
                return refused
            if request.method != "GET":
                return error(403, "insufficientPermissions", "Insufficient Permission")
            return self._api(request)

    def _token(self, request):
        form = {name: values[0] for name, values in
                urllib.parse.parse_qs(request.body.decode(), strict_parsing=True).items()}
        refusal = self._check_grant(form)
        if refusal:
            code, description = refusal
            date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + self.skew))
            return answer(400 if code != "invalid_client" else 401,
                          {"error": code, "error_description": description}, {"Date": date})
        token = "ya29." + secrets.token_urlsafe(24)
        self.tokens[token] = time.monotonic() + self.life
        return answer(200, {"access_token": token, "expires_in": self.life, "token_type": "Bearer",
                            "scope": SCOPE})

    def _check_grant(self, form):
        if form.get("grant_type") == "refresh_token":
            if (form.get("client_id"), form.get("client_secret")) != (self.CLIENT, self.CLIENT_SECRET):
                return "invalid_client", "The OAuth client was not found."
            if form.get("refresh_token") != self.REFRESH_TOKEN:
                return "invalid_grant", "Token has been expired or revoked."
            return None
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return "unsupported_grant_type", "Invalid grant_type"
        signed, _, signature = form["assertion"].rpartition(".")
        header, claims = (json.loads(unpad(part)) for part in signed.split("."))
        if header["alg"] != "RS256" or claims["iss"] != self.EMAIL:
            return "invalid_grant", "Invalid grant: account not found"
        with tempfile.NamedTemporaryFile() as file:
            file.write(unpad(signature))
            file.flush()
            check = subprocess.run(["openssl", "dgst", "-sha256", "-verify", self.public, "-signature",
                                    file.name], input=signed.encode(), capture_output=True)
        if check.returncode != 0:
            return "invalid_grant", "Invalid JWT Signature."
        now = time.time() + self.skew
        if claims["exp"] - claims["iat"] > 3600 or not claims["iat"] - 5 <= now < claims["exp"]:
            return "invalid_grant", ("Invalid JWT: Token must be a short-lived token (60 minutes) and in a "
                                     "reasonable timeframe. Check your iat and exp values in the JWT claim.")
        if not claims["aud"].endswith("/token"):
            return "invalid_grant", "Invalid JWT: Failed audience check."
        if claims["scope"] != SCOPE:
            return "invalid_scope", "Some requested scopes were invalid."
        if claims.get("sub") not in self.subjects:
            return "unauthorized_client", ("Client is unauthorized to retrieve access tokens using this "
                                           "method, or client not authorized for any of the scopes requested.")
        return None

    def _authorize(self, request):
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.tokens.get(token, 0) > time.monotonic():
            return None
        return error(401, "authError", "Request had invalid authentication credentials.",
                     location="Authorization", locationType="header")

    def _api(self, request):
        path, query = request.path, request.query
        if path == "/drive/v3/about":
            if "fields" not in query:
                return error(400, "required", "The 'fields' parameter is required for this method.")
            return self._give(request, {"user": {"displayName": "Sync", "emailAddress": self.EMAIL}})
        if path == "/drive/v3/files":
            return self._list(request)
        if path == "/drive/v3/drives":
            return self._pages(request, "drives", [{"id": id, "name": name} for id, name in self.drives.items()])
        if path == "/drive/v3/changes/startPageToken":
            feed = query.get("driveId", "")
            if feed and feed not in self.drives:
                return error(404, "notFound", f"Shared drive not found: {feed}")
            return answer(200, {"kind": "drive#startPageToken", "startPageToken": str(next(self.number))})
        if path == "/drive/v3/changes":
            return self._changes(request)
        match = re.fullmatch(r"/drive/v3/drives/([^/]+)", path)
        if match:
            name = self.drives.get(match[1])
            return self._give(request, {"id": match[1], "name": name}) if name else \
                error(404, "notFound", f"Shared drive not found: {match[1]}")
        match = re.fullmatch(r"/drive/v3/files/([^/]+)(/export)?", path)
        if not match or match[1] not in self.files:
            return not_found(match[1] if match else path)
        file = self.files[match[1]]
        if match[2]:
            return self._export(file, query.get("mimeType"))
        if "driveId" in file and query.get("supportsAllDrives") != "true":
            return not_found(file["id"])
        if query.get("alt") == "media":
            return self._download(file)
        return self._give(request, self._resource(file))

    def _give(self, request, resource):
        fields = request.query.get("fields")
        return answer(200, select(resource, parse_fields(fields) if fields else None))

    def _is_trashed(self, file):
        while file:
            if file["trashed"]:
                return True
            file = self.files.get(file.get("parents", [None])[0])
        return False

    def _resource(self, file):
        resource = {name: value for name, value in file.items() if not name.startswith("_")}
        resource["trashed"] = self._is_trashed(file)
        return resource

    def _pages(self, request, name, entries, **more):
        at = int(request.query.get("pageToken", "~0").removeprefix("~"))
        size = min(int(request.query.get("pageSize", 100)), self.page)
        page = {name: entries[at:at + size], **more}
        if at + size < len(entries):
            page["nextPageToken"] = f"~{at + size}"
        return self._give(request, page)

    def _list(self, request):
        query = request.query
        drive = query.get("driveId")
        corpora = query.get("corpora", "user")
        if (corpora == "drive") != (drive is not None):
            return error(400, "invalid", "Invalid value for corpora", location="corpora")
        if drive and query.get("includeItemsFromAllDrives") != "true":
            return error(403, "teamDrivesParentLimit", "includeItemsFromAllDrives must be true")
        if drive and drive not in self.drives:
            return error(404, "notFound", f"Shared drive not found: {drive}")
        q = query.get("q", "")
        parents = re.findall(r"'([^']+)' in parents", q)
        rest = re.sub(r"'[^']+' in parents", "", q).replace(" or ", "").replace(" and ", "")
        if rest.strip() not in ("trashed = false", "trashed = false()"):
            return error(400, "invalid", f"Invalid Value: {q}", location="q", locationType="parameter")
        if self.forgetful:
            parents = parents[:1]
        everywhere = query.get("includeItemsFromAllDrives") == "true"
        found = [self._resource(file) for file in self.files.values()
                 if (file.get("driveId") == drive if drive else everywhere or "driveId" not in file)
                 and (not parents or set(parents) & set(file.get("parents", ())))
                 and not self._is_trashed(file)]
        found.reverse()  # what was changed last comes first
        return self._pages(request, "files", found, incompleteSearch=False)

    def _changes(self, request):
        query = request.query
        feed = query.get("driveId", "")
        if feed and feed not in self.drives:
            return error(404, "notFound", f"Shared drive not found: {feed}")
        token = query.get("pageToken", "")
        if not token.isdigit() or int(token) < self.forgotten:
            reason = {400: "invalid", 404: "notFound", 410: "gone"}[self.forgotten_status]
            return error(self.forgotten_status, reason, "Invalid Value", location="pageToken",
                         locationType="parameter")
        since = sorted((number, entry) for number, entry in self.feeds[feed].values() if number >= int(token))
        size = min(int(query.get("pageSize", 100)), self.page)
        entries = []
        for _, entry in since[:size]:
            entry = dict(entry)
            if entry["changeType"] == "file" and not entry["removed"]:
                entry["file"] = self._resource(self.files[entry["fileId"]])
            entries.append(entry)
        page = {"kind": "drive#changeList", "changes": entries}
        if len(since) > size:
            page["nextPageToken"] = str(since[size][0])
        else:
            page["newStartPageToken"] = str(next(self.number))
        return self._give(request, page)

    def _export(self, file, mime):
        if not file["mimeType"].startswith(GOOGLE):
            return error(403, "fileNotExportable", "Export only supports Docs Editors files.")
        if not file["capabilities"]["canDownload"]:
            return error(403, "cannotExportFile", "This file cannot be exported by the user.")
        content = file.get("_exports", {}).get(mime)
        if content is None:
            return error(400, "badRequest", "The requested conversion is not supported.")
        content = content.encode() if isinstance(content, str) else content
        if len(content) > EXPORT_MOST:
            return error(403, "exportSizeLimitExceeded", "This file is too large to be exported.")
        return answer(200, content, {"Content-Type": mime})

    def _download(self, file):
        if "_content" not in file:
            return error(403, "fileNotDownloadable",
                         "Only files with binary content can be downloaded. Use Export with Docs Editors files.")
        if not file["capabilities"]["canDownload"]:
            return error(403, "cannotDownloadFile", "This file cannot be downloaded by the user.")
        return answer(200, file["_content"], {"Content-Type": file["mimeType"]})
