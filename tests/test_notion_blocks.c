/* test_notion_blocks.c: Notion's blocks, rich text, titles, ids and properties as a document has
 * them. */
#include "ingest/notion/notion_blocks.h"
#include "ingest/notion/notion_config.h"
#include "ingest/notion/notion_pages.h"
#include "ingest/notion/notion_properties.h"
#include "ingest/notion/notion_text.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* Blocks as the API gives them, with what is inside each in "inside". */
static void write_all(const json_t *blocks, struct notion_frame *frame, struct buffer *out)
{
    size_t i;
    const json_t *block;
    json_array_foreach(blocks, i, block)
    {
        struct notion_frame inside;
        if (!notion_block_write(block, frame, &inside, out)) continue;
        write_all(json_object_get(block, "inside"), &inside, out);
        free(inside.prefix);
    }
}

/* In what is written here, 'quotes' are "quotes" and T(x) is rich text. */
static json_t *parse(const char *text)
{
    struct buffer json = {0};
    json_error_t fault;
    for (; *text != '\0'; text++) {
        if (strncmp(text, "T(", 2) == 0) {
            const char *end = strchr(text, ')');
            buffer_format(&json, "[{\"type\":\"text\",\"plain_text\":\"%.*s\",\"href\":null}]",
                          (int)(end - text - 2), text + 2);
            text = end;
        } else {
            buffer_append(&json, *text == '\'' ? "\"" : text, 1);
        }
    }
    json_t *root = json_loads(json.data, 0, &fault);
    cr_assert_not_null(root, "%s in %s", fault.text, json.data);
    buffer_free(&json);
    return root;
}

static void expect(const char *blocks, const char *markdown)
{
    struct buffer out = {0};
    char nothing[] = "";
    struct notion_frame frame = {.prefix = nothing};
    json_t *root = parse(blocks);
    write_all(root, &frame, &out);
    cr_expect_str_eq(out.data != NULL ? out.data : "", markdown, "%s:\n%s", blocks, out.data);
    json_decref(root);
    buffer_free(&out);
}

Test(notion_blocks, each_kind)
{
    expect("[{'type':'paragraph','paragraph':{'rich_text':T(one)}},"
           "{'type':'paragraph','paragraph':{'rich_text':[]}},"
           "{'type':'paragraph','paragraph':{'rich_text':T(two)}}]",
           "one\n\ntwo\n");
    expect("[{'type':'heading_1','heading_1':{'rich_text':T(a)}},"
           "{'type':'heading_2','heading_2':{'rich_text':T(b)}},"
           "{'type':'heading_3','has_children':true,'heading_3':{'rich_text':T(c),"
           "'is_toggleable':true},'inside':[{'type':'paragraph','paragraph':{'rich_text':T(d)}}]}]",
           "## a\n\n### b\n\n#### c\n\nd\n");
    expect("[{'type':'bulleted_list_item','bulleted_list_item':{'rich_text':T(a)}},"
           "{'type':'numbered_list_item','has_children':true,'numbered_list_item':{'rich_text':T(b)"
           "},'inside':[{'type':'bulleted_list_item','bulleted_list_item':{'rich_text':T(in)}}]},"
           "{'type':'numbered_list_item','numbered_list_item':{'rich_text':T(c)}}]",
           "- a\n1. b\n    - in\n2. c\n");
    expect("[{'type':'to_do','to_do':{'rich_text':T(a),'checked':true}},"
           "{'type':'to_do','to_do':{'rich_text':T(b),'checked':false}}]",
           "- [x] a\n- [ ] b\n");
    expect("[{'type':'toggle','has_children':true,'toggle':{'rich_text':T(more)},'inside':["
           "{'type':'paragraph','paragraph':{'rich_text':T(hidden)}}]}]",
           "- more\n\n    hidden\n");
    expect("[{'type':'quote','quote':{'rich_text':T(said\\nso)}}]", "> said\n> so\n");
    expect("[{'type':'callout','callout':{'rich_text':T(mind),'icon':{'type':'emoji',"
           "'emoji':'!'}}}]",
           "> ! mind\n");
    expect("[{'type':'code','code':{'rich_text':T(a\\n  b),'language':'c','caption':[]}}]",
           "```c\na\n  b\n```\n");
    expect("[{'type':'code','code':{'rich_text':T(```),'language':'plain text'}}]",
           "````\n```\n````\n");
    expect("[{'type':'equation','equation':{'expression':'e=mc^2'}},"
           "{'type':'divider','divider':{}}]",
           "$$e=mc^2$$\n\n---\n");
    expect("[{'type':'table','has_children':true,'table':{'table_width':2},'inside':["
           "{'type':'table_row','table_row':{'cells':[T(a|b),T(c)]}},"
           "{'type':'table_row','table_row':{'cells':[T(1\\n2),[]]}}]}]",
           "| a\\|b | c |\n| --- | --- |\n| 1<br>2 |  |\n");
    expect("[{'type':'column_list','has_children':true,'column_list':{},'inside':["
           "{'type':'column','has_children':true,'column':{},'inside':["
           "{'type':'paragraph','paragraph':{'rich_text':T(left)}}]},"
           "{'type':'column','has_children':true,'column':{},'inside':["
           "{'type':'paragraph','paragraph':{'rich_text':T(right)}}]}]}]",
           "left\n\nright\n");
}

Test(notion_blocks, lines_and_marks_within_a_text)
{
    expect("[{'type':'heading_1','heading_1':{'rich_text':T(two\\nlines)}}]", "## two lines\n");
    expect("[{'type':'callout','has_children':true,'callout':{'rich_text':T(see)},'inside':["
           "{'type':'equation','equation':{'expression':'a\\n+b'}}]}]",
           "> see\n>\n> $$a\n> +b$$\n");
    expect("[{'type':'template','has_children':true,'template':{'rich_text':T(Add a task)},"
           "'inside':[{'type':'to_do','to_do':{'rich_text':T(do it),'checked':false}}]}]",
           "Add a task\n\n- [ ] do it\n");
}

Test(notion_blocks, links_and_files)
{
    expect("[{'type':'bookmark','bookmark':{'url':'https://a.example','caption':[]}},"
           "{'type':'embed','embed':{'url':'https://b.example','caption':T(b)}}]",
           "<https://a.example>\n\n[b](https://b.example)\n");
    expect("[{'type':'image','image':{'type':'external','external':{'url':'https://i.example'},"
           "'caption':T(a cat)}}]",
           "![a cat](https://i.example)\n");
    expect("[{'type':'file','file':{'type':'file','file':{'url':'https://s3/signed'},"
           "'name':'plan.pdf','caption':[]}}]",
           "[file: plan.pdf]\n");
    expect("[{'type':'child_page','id':'12345678-1234-1234-1234-123456789012','has_children':true,"
           "'child_page':{'title':'Below'}}]",
           "[Below](https://www.notion.so/12345678123412341234123456789012)\n");
    expect("[{'type':'link_to_page','link_to_page':{'type':'page_id','page_id':'1-2'}}]",
           "[a page](https://www.notion.so/12)\n");
}

Test(notion_blocks, unknown_and_broken_ones)
{
    expect("[{'type':'hologram','hologram':{'rich_text':T(kept)}},"
           "{'type':'unsupported','unsupported':{}},{'type':'table_of_contents'},"
           "{'type':'breadcrumb','breadcrumb':{}}]",
           "kept\n");
    expect("[{},{'type':7},{'type':'paragraph'},{'type':'paragraph','paragraph':null},"
           "{'type':'code','code':[]},7,null,{'type':'heading_','heading_':3}]",
           "```\n\n```\n\n#### \n");
}

static void expect_text(const char *rich_text, const char *markdown)
{
    struct buffer out = {0};
    json_t *root = parse(rich_text);
    notion_text_markdown(root, "", &out);
    cr_expect_str_eq(out.data, markdown, "%s: %s", rich_text, out.data);
    json_decref(root);
    buffer_free(&out);
}

Test(notion_blocks, rich_text)
{
    expect_text("[{'type':'text','plain_text':'bold ','annotations':{'bold':true}},"
                "{'type':'text','plain_text':'code','annotations':{'code':true}},"
                "{'type':'text','plain_text':' '},"
                "{'type':'text','plain_text':'all','annotations':{'bold':true,'italic':true,"
                "'strikethrough':true}}]",
                "**bold** `code` ~~***all***~~");
    expect_text("[{'type':'text','plain_text':'here','href':'https://a.example'},"
                "{'type':'text','plain_text':' '},"
                "{'type':'text','plain_text':'page','href':'/1234'}]",
                "[here](https://a.example) [page](https://www.notion.so/1234)");
    expect_text("[{'type':'equation','equation':{'expression':'x^2'},'plain_text':'x^2'},"
                "{'type':'mention','mention':{'type':'user'},'plain_text':'@Ann'},"
                "{'type':'mention','mention':{'type':'page'},'plain_text':'Plan',"
                "'href':'https://www.notion.so/1'}]",
                "$x^2$@Ann[Plan](https://www.notion.so/1)");
    expect_text("[{'type':'text','plain_text':'a`b','annotations':{'code':true}},"
                "{'type':'text','plain_text':' '},"
                "{'type':'text','plain_text':'``','annotations':{'code':true,'bold':true}}]",
                "``a`b`` **``` `` ```**");
}

Test(notion_blocks, nested_beyond_measure_is_not_indented_beyond_measure)
{
    struct buffer out = {0};
    char *prefix = strdup("");
    json_t *block = parse("{'type':'toggle','has_children':true,'toggle':{'rich_text':T(x)}}");
    for (int i = 0; i < 5000; i++) {
        struct notion_frame frame = {.prefix = prefix}, inside;
        cr_assert(notion_block_write(block, &frame, &inside, &out));
        free(prefix);
        prefix = inside.prefix;
    }
    cr_expect_lt(out.length, 5000 * 260);
    free(prefix);
    json_decref(block);
    buffer_free(&out);
}

Test(notion_blocks, parts_of_paths)
{
    static const struct {
        const char *title, *part;
    } cases[] = {{"First day", "First day"}, {"a/b", "a-b"},       {"..", "Dots"},
                 {"", "Untitled"},           {" \n ", "Untitled"}, {" x\ty ", "x y"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *part = notion_path_part(cases[i].title);
        cr_expect_str_eq(part, cases[i].part);
        free(part);
    }
}

Test(notion_blocks, ids)
{
    char id[NOTION_ID_SIZE];
    cr_expect_eq(
        notion_id_read("https://www.notion.so/A-page-8F4B21cd477e80fdb757e945d38000bd?v=1", id), 0);
    cr_expect_str_eq(id, "8f4b21cd477e80fdb757e945d38000bd");
    cr_expect_eq(notion_id_read("248104cd-477e-80fd-b757-e945d38000bd", id), 0);
    cr_expect_str_eq(id, "248104cd477e80fdb757e945d38000bd");
    cr_expect_neq(notion_id_read("248104cd", id), 0);
    cr_expect_neq(notion_id_read("", id), 0);
    cr_expect_neq(notion_id_read(NULL, id), 0);
    cr_expect_neq(notion_id_read("../../../../../../../../../../../../..", id), 0);
}

Test(notion_blocks, properties)
{
    json_t *page = parse(
        "{'properties':{'Name':{'type':'title','title':T(A row)},"
        "'Note':{'type':'rich_text','rich_text':T(words)},"
        "'N':{'type':'number','number':1.5},'C':{'type':'checkbox','checkbox':false},"
        "'S':{'type':'select','select':{'name':'one'}},'Empty':{'type':'select','select':null},"
        "'M':{'type':'multi_select','multi_select':[{'name':'a'},{'name':'b'}]},"
        "'P':{'type':'people','people':[{'id':'1','name':'Ann'},{'id':'2'}]},"
        "'D':{'type':'date','date':{'start':'2026-01-01','end':null,'time_zone':null}},"
        "'F':{'type':'formula','formula':{'type':'string','string':'f'}},"
        "'R':{'type':'relation','relation':[{'id':'x'}]},"
        "'U':{'type':'unique_id','unique_id':{'prefix':'T','number':7}},"
        "'Roll':{'type':'rollup','rollup':{'type':'array','array':[{'type':'number','number':2}]}},"
        "'L':{'type':'url','url':'https://a.example'},'Odd':{'type':'new_kind','new_kind':[]}}}");
    json_t *expected =
        parse("{'Note':'words','N':1.5,'C':false,'S':'one','M':['a','b'],'P':['Ann','2'],"
              "'D':{'start':'2026-01-01'},'F':'f','R':['x'],'U':'T-7','Roll':[2],"
              "'L':'https://a.example'}");
    json_t *values = notion_properties(page);
    struct buffer title = {0};
    char *text = json_dumps(values, 0);
    cr_expect(json_equal(values, expected), "%s", text);
    notion_title(page, &title);
    cr_expect_str_eq(title.data, "A row");
    buffer_free(&title);
    free(text);
    json_decref(values);
    json_decref(expected);
    json_decref(page);
}
