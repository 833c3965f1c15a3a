//! Tests of rendering, from input to message.

use serde_json::json;

use super::*;
use crate::message::MediaKind;

fn free<'a>(channel: Channel, content: &'a str, variables: Option<&'a Value>) -> RenderInput<'a> {
    let (template, text, subject, locale) = (None, None, Some("A subject"), None);
    RenderInput { channel, template, text, subject, content: Some(content), variables, attachments: &[], locale }
}

fn sms(content: &str, variables: Value) -> Result<String, RenderError> {
    render(&free(Channel::Sms, content, Some(&variables))).map(|message| message.text)
}

fn system(channel: Channel, id: &str, variables: &Value) -> Result<RenderedMessage, RenderError> {
    let template = TemplateRef { id: id.to_owned(), version: 1, text: None };
    let input =
        RenderInput { template: Some(&template), subject: None, content: None, ..free(channel, "", Some(variables)) };
    render(&input)
}

#[test]
fn helpers_format_their_arguments() {
    for (template, variables, expected) in [
        ("{{currency amount}}", json!({"amount": 1500}), "$1,500.00"),
        ("{{currency amount \"EUR\"}}", json!({"amount": "2.5"}), "€2.50"),
        ("{{currency amount currency=\"GBP\"}}", json!({"amount": "$1,500.00"}), "£1,500.00"),
        ("{{date d}}", json!({"d": "2025-10-20"}), "Oct 20, 2025"),
        ("{{date d \"full\"}}", json!({"d": "2025-10-20T23:30:00Z"}), "Monday, October 20, 2025"),
        ("{{date d tz=\"Europe/Madrid\"}}", json!({"d": "2025-10-20T23:30:00Z"}), "Oct 21, 2025"),
        ("{{uppercase a}}{{lowercase a}}", json!({"a": "Straße"}), "STRASSEstraße"),
        ("{{#ifEquals a 1}}one{{else}}other{{/ifEquals}}", json!({"a": 1}), "one"),
        ("{{#ifEquals a 1}}one{{else}}other{{/ifEquals}}", json!({"a": "1"}), "other"),
        ("{{#ifGreater a 10}}more{{else}}less{{/ifGreater}}", json!({"a": "11"}), "more"),
        ("{{#each items}}{{this.n}};{{/each}}", json!({"items": [{"n": 1}, {"n": 2}]}), "1;2;"),
        ("<{{a}}>", json!({"a": "<&>"}), "<<&>>"),
    ] {
        assert_eq!(sms(template, variables).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn all_missing_variables_are_named_at_once() {
    let missing = sms("{{a}} {{b.c}} {{currency d}} {{#if e}}{{/if}} {{{f}}}", json!({"b": {"c": 1}}));
    let names = ["a", "d", "f"].map(str::to_owned).to_vec();
    assert_eq!(missing, Err(RenderError::MissingVariables(names)));
}

#[test]
fn errors_name_what_is_wrong() {
    for (template, part) in [
        ("{{currency a}}", "`lots` is not an amount"),
        ("{{date a}}", "`lots` is not a date"),
        ("{{#if a}}", "line 1, column 10: a tag or a block is not closed"),
        ("one\n{{#if}}x{{/if}}", "line 2, column 1: `{{#if}}` needs a value"),
        ("{{a b=}}", "a name or a value is missing before `}}`"),
        ("{{#if a}}x{{/each}}", "if"),
        ("{{", "line 1"),
        ("{{nothing a}}", "nothing"),
        ("{{> other}}", "partials"),
        ("{{#*inline \"x\"}}{{> x}}{{/inline}}{{> x}}", "partials"),
    ] {
        let error = sms(template, json!({"a": "lots"})).expect_err(template);
        assert!(error.to_string().contains(part), "{template}: {error}");
    }
}

#[test]
fn hostile_templates_are_stopped() {
    let many: Vec<u32> = (0..60_000).collect();
    let big = sms("{{#each a}}0123456789{{/each}}", json!({ "a": many }));
    assert_eq!(big, Err(RenderError::TooLarge));
    let deep = |open: &str, shut: &str, n| open.repeat(n) + &shut.repeat(n);
    for template in [
        deep("{{#each a}}", "{{/each}}", 3),
        deep("{{#if a}}", "{{/if}}", 10_000),
        format!("{{{{f {}1{}}}}}", "(f ".repeat(10_000), ")".repeat(10_000)),
    ] {
        assert!(matches!(sms(&template, json!({"a": [1]})), Err(RenderError::TooComplex(_))));
    }
}

#[test]
fn a_rendering_ends_after_its_steps_whether_or_not_there_is_output() {
    let ones = |count| (0..count).map(|_| 1).collect::<Vec<u32>>();
    let (many, long) = (json!({ "a": ones(10_000), "b": ones(50_000), "t": "x".repeat(100_000) }), "x".repeat(100_000));
    for template in [
        "{{#each a}}{{#each ../a}}{{#if z}}y{{/if}}{{/each}}{{/each}}",
        "{{#each a}}{{#each ../a}}{{/each}}{{/each}}",
        "{{#each a}}{{#if (eq ../b ../b)}}{{/if}}{{/each}}",
        "{{#each a}}{{#ifEquals (uppercase ../t) 1}}{{/ifEquals}}{{/each}}",
        "{{#each b}}{{#if (currency 1)}}{{/if}}{{/each}}",
    ] {
        assert_eq!(sms(template, many.clone()), Err(RenderError::TooManySteps), "{template}");
    }
    // What a loop looks up is not copied.
    assert!(sms("{{#each a}}{{#if (lookup ../c 0)}}{{/if}}{{/each}}", json!({"a": ones(5_000), "c": [long]})).is_ok());
    let error = sms("{{#each a}}{{#with (uppercase ../t) as |x|}}{{/with}}{{/each}}", many).expect_err("computed");
    assert_eq!(error.to_string(), "`with` needs a variable");
}

#[test]
fn ordinary_templates_take_few_steps() {
    let items: Vec<Value> = (0..200).map(|n| json!({ "name": format!("Item {n}"), "price": n })).collect();
    let template =
        "{{#each items}}<li>{{@index}}. {{name}}: {{currency price \"EUR\"}}{{#if @last}}.{{/if}}</li>{{/each}}";
    let variables = json!({ "items": items });
    let input = free(Channel::Email, template, Some(&variables));
    let (rendered, steps) = render_within(&input, MAX_STEPS);
    assert!(rendered.is_ok() && steps < 10_000, "{steps}");
    assert_eq!(render_within(&input, steps).0, rendered);
    assert_eq!(render_within(&input, steps - 1).0, Err(RenderError::TooManySteps));
}

#[test]
fn variables_that_make_every_tag_slow_are_refused() {
    let deep = (0..25).fold(json!(1), |inner, _| json!({ "a": inner }));
    for variables in [deep, json!({ "x".repeat(201): 1 })] {
        assert!(matches!(sms("{{#if b}}{{/if}}", variables), Err(RenderError::TooComplex(_))));
    }
}

#[test]
fn conditions_and_look_ups() {
    let variables = json!({"a": 1, "b": "2", "c": [{"d": "x"}], "e": {"k": "y"}, "k": "k", "no": false});
    for (template, expected) in [
        ("{{#if (gt b a)}}1{{/if}}{{#if (eq a 1)}}2{{/if}}{{#if (and a (not no))}}3{{/if}}{{or no no}}", "123false"),
        ("{{len c}}{{lookup e k}}{{#with (lookup c 0)}}{{d}}{{/with}}", "1yx"),
        ("{{#each c}}{{lookup ../e \"k\"}}{{lookup this \"d\"}}{{/each}}", "yx"),
    ] {
        assert_eq!(sms(template, variables.clone()).as_deref(), Ok(expected), "{template}");
    }
    assert!(sms("{{log a}}", variables).is_err());
}

#[test]
fn email_escapes_variables_and_has_a_plain_part() {
    let variables = json!({"name": "<script>x</script>"});
    let message = render(&free(Channel::Email, "<p>Hi {{name}},</p><p>bye</p>", Some(&variables))).expect("a message");
    let html = message.html.expect("html");
    assert!(html.contains("Hi &lt;script&gt;x") && !html.contains("<script>"));
    assert_eq!(message.text, "Hi <script>x</script>,\n\nbye");
    let plain = render(&free(Channel::Email, "a < b\n\nc", None)).expect("a message");
    assert_eq!(plain.text, "a < b\n\nc");
    assert!(plain.html.expect("html").contains("a &lt; b</p>"));
}

#[test]
fn a_subject_is_one_line() {
    let input = RenderInput { subject: Some("Hello\r\nBcc: all@example.com"), ..free(Channel::Email, "x", None) };
    assert_eq!(render(&input).expect("a message").subject.as_deref(), Some("Hello Bcc: all@example.com"));
}

#[test]
fn free_content_without_variables_is_not_expanded() {
    assert_eq!(render(&free(Channel::Sms, "{{not}} a template", None)).expect("a message").text, "{{not}} a template");
}

#[test]
fn system_templates_render() {
    let variables = json!({"customerName": "Ada & Co", "invoiceNumber": "INV-7", "businessName": "Acme", "amount": 1500,
        "dueDate": "2026-12-01", "paymentLink": "https://pay.example.com/7", "message": "Hello."});
    let invoice = system(Channel::Email, "tpl_invoice_email", &variables).expect("a message");
    assert_eq!(invoice.subject.as_deref(), Some("Invoice INV-7 from Acme"));
    assert!(invoice.text.contains("$1,500.00") && invoice.text.contains("December 1, 2026"), "{}", invoice.text);
    assert!(invoice.html.expect("html").contains("Dear Ada &amp; Co,"));
    let link = system(Channel::Sms, "tpl_payment_link_sms", &variables).expect("a message");
    assert_eq!(link.text, "Acme: Ada & Co, pay $1,500.00 for INV-7 here: https://pay.example.com/7");
    assert_eq!(link.segments.map(|s| s.count), Some(1));
    assert_eq!(system(Channel::Sms, "tpl_general", &variables).expect("a message").text, "Hello Ada & Co,\n\nHello.");
    let wrong = system(Channel::Sms, "tpl_invoice_email", &variables);
    assert_eq!(wrong, Err(RenderError::WrongChannel("tpl_invoice_email".to_owned())));
    let none = system(Channel::Sms, "tpl_none", &variables);
    assert_eq!(none, Err(RenderError::UnknownTemplate("tpl_none".to_owned())));
}

#[test]
fn attachments_are_links_in_email() {
    let (name, url) = ("invoice.pdf".to_owned(), "https://files.example.com/a?b=1&c=2".to_owned());
    let files = [MediaLink { name, url, kind: MediaKind::File }];
    let message = render(&RenderInput { attachments: &files, ..free(Channel::Email, "Hi", None) }).expect("a message");
    assert_eq!(message.text, "Hi\n\ninvoice.pdf: https://files.example.com/a?b=1&c=2");
    assert!(
        message.html.expect("html").contains("<a href=\"https://files.example.com/a?b=1&amp;c=2\">invoice.pdf</a>")
    );
}

#[test]
fn branches_of_a_block_count_as_nested_blocks() {
    for link in ["{{^if z}}", "{{else if z}}"] {
        let chain = |links: usize| format!("{{{{#if z}}}}{}{{{{/if}}}}", link.repeat(links));
        assert!(compile(&chain(10)).is_ok(), "{link}");
        for links in [30, 400, 1_400] {
            assert!(matches!(compile(&chain(links)), Err(RenderError::TooComplex(_))), "{links} {link}");
        }
    }
}

#[test]
fn a_comment_hides_no_tags_behind_control_characters() {
    let hidden = format!("{{{{!\u{c}-- }}}}{}--}}}}", "{{a}}".repeat(19_950));
    assert!(matches!(compile(&hidden), Err(RenderError::Template(_))));
    assert!(compile("{{!-- a\tcomment\r\n --}}x").is_ok());
}

#[test]
fn every_system_template_is_rendered_with_its_sample() {
    for template in templates::all() {
        let variables = Value::Object(templates::samples_of_system(template.code).expect("a sample"));
        let rendered = system(template.channel.unwrap_or(Channel::Email), template.id, &variables);
        assert!(rendered.is_ok(), "{}: {rendered:?}", template.id);
    }
}
