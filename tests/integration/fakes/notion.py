"""notion.py: Notion's API, version 2025-09-03, as documented: search, pages, blocks, users/me.

    with Notion() as notion:
        home = notion.page("Handbook", [text("hello")])
        notion.page("First day", [heading(1, "Morning"), item("coffee", [item("with milk")])], parent=home)
"""

import datetime
import itertools
import uuid

from fakes.service import Service, answer

PAGE_MOST = 100


def rich(content, href=None, **annotations):
    marks = {"bold": False, "italic": False, "strikethrough": False, "underline": False, "code": False,
             "color": "default", **annotations}
    return {"type": "text", "text": {"content": content, "link": href and {"url": href}}, "annotations": marks,
            "plain_text": content, "href": href}


def block(kind, children=(), id=None, **content):
    return {"type": kind, "content": content, "children": list(children), "id": id}


def copy_of(identity):
    """Shows what is in another synced block."""
    return block("synced_block", synced_from={"type": "block_id", "block_id": identity})


def text(content, children=(), **annotations):
    return block("paragraph", children, rich_text=[rich(content, **annotations)])


def heading(level, content, children=()):
    return block(f"heading_{level}", children, rich_text=[rich(content)], is_toggleable=bool(children))


def item(content, children=(), kind="bulleted_list_item", **more):
    return block(kind, children, rich_text=[rich(content)], **more)


class Page:
    def __init__(self, title, blocks, parent, properties, database):
        # Ids that are made on one day begin alike.
        self.id = "2a1104cd-477e-80" + str(uuid.uuid4())[16:]
        self.title, self.parent, self.properties = title, parent, properties or {}
        self.database, self.trashed, self.shared = database, False, True
        self.listed = True  # whether search knows of it
        self.created = self.edited = None
        self.blocks = blocks


class Notion(Service):
    def __init__(self, token="ntn_test5ecret", **keywords):
        super().__init__(**keywords)
        self.token, self.pages, self.blocks = token, {}, {}
        self.cursors, self.serial = {}, itertools.count(1)
        self.minute = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
        self.incomplete = False

    def config(self, **more):
        return {"baseUrl": self.url, "tokenEnv": "TEST_NOTION_TOKEN", "requestsPerSecond": 1000, **more}

    # ---- What people do ----

    def touch(self, page, when=None):
        """It was edited just now, by a clock that goes a minute at each edit. Notion tells minutes."""
        self.minute += datetime.timedelta(minutes=1)
        page.edited = (when or self.minute).strftime("%Y-%m-%dT%H:%M:00.000Z")

    def page(self, title, blocks=(), parent=None, properties=None, database=False):
        page = Page(title, [], parent, properties, database)
        with self.lock:
            self.pages[page.id] = page
            self.write(page, blocks)
            page.created = page.edited
        return page

    def write(self, page, blocks):
        with self.lock:
            page.blocks = self.register(blocks, {"type": "page_id", "page_id": page.id})
            self.touch(page)

    def register(self, blocks, parent):
        made = []
        for source in blocks:
            own = {"object": "block", "id": source["id"] or str(uuid.uuid4()), "parent": parent, "type": source["type"],
                   source["type"]: source["content"], "has_children": bool(source["children"] or source["content"].get("synced_from"))}
            own_children = self.register(source["children"], {"type": "block_id", "block_id": own["id"]})
            self.blocks[own["id"]] = (own, own_children)
            made.append(own)
        return made

    # ---- Answers ----

    def describe(self, page):
        title = [rich(page.title)] if page.title else []
        parent = {"type": "workspace", "workspace": True}
        if isinstance(page.parent, Page):
            parent = ({"type": "data_source_id", "data_source_id": page.parent.id, "database_id": page.parent.id}
                      if page.parent.database else {"type": "page_id", "page_id": page.parent.id})
        elif page.parent:
            parent = {"type": "block_id", "block_id": page.parent}
        made = {"object": "data_source" if page.database else "page", "id": page.id, "last_edited_time": page.edited,
                "created_time": page.created, "in_trash": page.trashed, "archived": page.trashed, "parent": parent,
                "url": f"https://www.notion.so/{page.id.replace('-', '')}"}
        if page.database:
            made["title"] = title
            made["database_parent"] = parent
            made["parent"] = {"type": "database_id", "database_id": page.id}
            made["properties"] = {}
        else:
            made["properties"] = {**page.properties, "Name": {"id": "title", "type": "title", "title": title}}
        return made

    def error(self, status, code, message, headers=()):
        return answer(status, {"object": "error", "status": status, "code": code, "message": message}, headers)

    def paged(self, items, size, cursor):
        """Cursors name a place in the list as it was then, as those of search do."""
        begin = 0
        if cursor:
            if cursor not in self.cursors:
                return self.error(400, "validation_error", "The start_cursor provided is invalid")
            begin, items = self.cursors[cursor]
        shown, following = items[begin:begin + size], None
        if begin + size < len(items):
            following = f"cursor-{next(self.serial)}"
            self.cursors[following] = (begin + size, items)
        return answer(200, {"object": "list", "results": shown, "has_more": following is not None,
                            "next_cursor": following,
                            "request_status": {"type": "incomplete" if self.incomplete else "complete"}})

    def is_trashed(self, page):
        while isinstance(page, Page):
            if page.trashed:
                return True
            page = page.parent
        return False

    def visible(self, identity):
        page = self.pages.get(identity) or next(
            (p for p in self.pages.values() if p.id.replace("-", "") == identity), None)
        return page if page and page.shared else None

    def handle(self, request):
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return self.error(401, "unauthorized", "API token is invalid.")
        if request.headers.get("notion-version") != "2025-09-03":
            return self.error(400, "missing_version", "Notion-Version header should be defined")
        with self.lock:
            return self.answer(request)

    def answer(self, request):
        parts = request.path.strip("/").split("/")[1:]
        if parts == ["users", "me"]:
            return answer(200, {"object": "user", "type": "bot", "name": "Vault",
                                "bot": {"workspace_name": "Tekup"}})
        if parts == ["search"] and request.method == "POST":
            body = request.json
            size = min(body.get("page_size", PAGE_MOST), PAGE_MOST)
            seen = sorted((p for p in self.pages.values() if p.shared and p.listed and not self.is_trashed(p)),
                          key=lambda p: p.edited, reverse=True)
            return self.paged([self.describe(p) for p in seen], size, body.get("start_cursor"))
        if parts[0] in ("pages", "databases", "data_sources") and len(parts) == 2:
            page = self.visible(parts[1])
            if page and page.database == (parts[0] != "pages"):
                return answer(200, self.describe(page))
        if parts[0] == "blocks":
            found = self.find(parts[1])
            if found and len(parts) == 2:
                return answer(200, found[0])
            if found and parts[2] == "children":
                size = min(int(request.query.get("page_size", PAGE_MOST)), PAGE_MOST)
                origin = (found[0].get("synced_block") or {}).get("synced_from")
                children = self.blocks[origin["block_id"]][1] if origin else found[1]
                return self.paged(children, size, request.query.get("start_cursor"))
        return self.error(404, "object_not_found", f"Could not find {request.path}. Make sure it is shared.")

    def find(self, identity):
        """A block, or a page as one, and its children."""
        page = self.visible(identity)
        if page:
            return self.describe(page), page.blocks
        for known, found in self.blocks.items():
            if identity in (known, known.replace("-", "")):
                return found
        return None
