"""github.py: GitHub's REST API as documented, over real git repositories.

    with GitHub(tmp_path) as github:
        repository = github.create("tekup/handbook")
        repository.commit({"README.md": "hello"})
"""

import hashlib
import pathlib
import re
import subprocess
import time
import urllib.parse

from fakes.service import Service, answer

ENVIRONMENT = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.com", "GIT_COMMITTER_NAME": "t",
               "GIT_COMMITTER_EMAIL": "t@example.com", "PATH": "/usr/bin:/bin", "HOME": "/nonexistent",
               "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}


class Repository:
    def __init__(self, root, name):
        self.path, self.name = root, name
        self.default_branch, self.private, self.archived = "main", True, False
        self.blocked = False
        self.git("init", "-q", "-b", "main", ".")

    def git(self, *arguments, **keywords):
        return subprocess.run(["git", *arguments], cwd=self.path, env=ENVIRONMENT, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **keywords).stdout

    def write(self, files):
        """None: the file goes."""
        for path, content in files.items():
            file = self.path / path
            if content is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self, files, branch=None):
        if branch:
            self.git("checkout", "-q", "-B", branch)
        self.write(files)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "change", "--allow-empty")
        return self.head()

    def head(self, branch="HEAD"):
        """None where there is no commit, or no such branch."""
        try:
            return self.git("rev-parse", "--verify", "-q", f"{branch}^{{commit}}").decode().strip()
        except subprocess.CalledProcessError:
            return None

    def tree(self, sha, recursive):
        entries = []
        flags = ["-r", "-t"] if recursive else []
        for line in self.git("ls-tree", "-z", "--long", *flags, sha).split(b"\0"):
            if not line:
                continue
            about, path = line.split(b"\t", 1)
            mode, kind, own, size = about.decode().split()
            entry = {"path": path.decode(), "mode": mode, "type": kind, "sha": own}
            if kind == "blob":
                entry["size"] = int(size)
            entries.append(entry)
        return entries


class GitHub(Service):
    def __init__(self, root, token="ghp_test5ecret", **keywords):
        super().__init__(**keywords)
        self.root, self.token = pathlib.Path(root), token
        self.repositories, self.renamed = {}, {}
        self.tree_most = 100000  # entries in one answer
        self.codeload = Codeload(self)

    def close(self):
        self.codeload.close()
        super().close()

    def create(self, name):
        path = self.root / name.replace("/", "_")
        path.mkdir()
        self.repositories[name] = Repository(path, name)
        return self.repositories[name]

    def rename(self, old, new):
        repository = self.repositories.pop(old)
        repository.name = new
        self.repositories[new] = repository
        self.renamed[old] = new
        return repository

    def exhaust(self, seconds, times=1):
        """The primary limit is used up for so long."""
        return self.fail(times=times, answer=answer(
            403, {"message": "API rate limit exceeded for user ID 1."},
            {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0",
             "X-RateLimit-Reset": str(int(time.time() + seconds))}))

    # ---- Answers ----

    def conditional(self, request, content, accept=None):
        """With an ETag, and 304 for who has it."""
        made = answer(200, content)
        etag = f'W/"{hashlib.sha256(made.body).hexdigest()}"'
        headers = {**made.headers, "ETag": etag, "X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4999"}
        if request.headers.get("if-none-match") == etag:
            return answer(304, None, headers)
        made.headers = headers
        return made

    def handle(self, request):
        if not request.headers.get("user-agent"):
            return answer(403, {"message": "Request forbidden by administrative rules."})
        given = request.headers.get("authorization")
        if given is not None and given != f"Bearer {self.token}":
            return answer(401, {"message": "Bad credentials", "status": "401"})
        if request.path == "/user":
            if given is None:
                return answer(401, {"message": "Requires authentication"})
            return answer(200, {"login": "ann", "id": 1}, {"X-OAuth-Scopes": "repo"})
        found = re.match(r"/repos/([^/]+/[^/]+)(/.*)?$", request.path)
        if not found:
            return None
        name, rest = found.group(1), found.group(2) or ""
        if name in self.renamed:
            return answer(301, {"message": "Moved Permanently"},
                          {"Location": f"{self.url}/repos/{self.renamed[name]}{urllib.parse.quote(rest)}"
                           + (f"?{request.raw.split('?')[1]}" if "?" in request.raw else "")})
        repository = self.repositories.get(name)
        if repository is None or (repository.private and given is None):
            return answer(404, {"message": "Not Found", "status": "404"})
        if repository.blocked:
            return answer(451, {"message": "Repository access blocked", "block": {"reason": "dmca"}})
        with self.lock:
            return self.of_repository(request, repository, rest)

    def of_repository(self, request, repository, rest):
        if rest == "":
            return self.conditional(request, {
                "id": 7, "full_name": repository.name, "private": repository.private, "size": 12,
                "default_branch": repository.default_branch, "archived": repository.archived})
        if repository.head("--all") is None and not repository.git("rev-list", "--all", "-n1"):
            return answer(409, {"message": "Git Repository is empty.", "status": "409"})
        kind, _, what = rest[1:].partition("/")
        if kind == "commits":
            sha = repository.head(f"refs/{what}" if re.match("(heads|tags)/", what) else what)
            if sha is None:
                return answer(422, {"message": f"No commit found for SHA: {what}", "status": "422"})
            if request.headers.get("accept") != "application/vnd.github.sha":
                return answer(415, {"message": "the fake only knows the sha"})
            return self.conditional(request, sha)
        if kind == "tarball":
            return answer(302, None, {"Location": f"{self.codeload.url}/{repository.name}/legacy.tar.gz/{what}"
                                      "?token=ONCE"})
        kind, _, what = what.partition("/")
        if kind == "trees":
            recursive = "recursive" in request.query
            entries = repository.tree(what, recursive)
            truncated = recursive and len(entries) > self.tree_most
            return answer(200, {"sha": what, "tree": entries[:self.tree_most] if truncated else entries,
                                "truncated": truncated})
        if kind == "blobs":
            return answer(200, repository.git("cat-file", "blob", what),
                          {"Content-Type": "application/vnd.github.raw; charset=utf-8"})
        return None


class Codeload(Service):
    """Where tarballs come from: another origin, which must not see the token."""

    def __init__(self, github):
        super().__init__()
        self.github = github

    def handle(self, request):
        assert "authorization" not in request.headers, "the token went to another host"
        if request.query != {"token": "ONCE"}:
            return answer(404, "404: Not Found")
        owner, name, _, sha = request.path[1:].split("/", 3)
        repository = self.github.repositories[f"{owner}/{name}"]
        tar = repository.git("archive", "--format=tar.gz", f"--prefix={owner}-{name}-{sha[:7]}/", sha)
        return answer(200, tar, {"Content-Type": "application/x-gzip"})
