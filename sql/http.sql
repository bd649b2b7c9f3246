-- Base URLs: the spellings of this machine and of private networks are refused before any packet, unless a superuser has listed the
-- host: what this server lists counts as refused here.
SELECT u, keypup.check_base_url(u) FROM (VALUES ('https://api.github.com/'), ('https://github.example.com:8443/api/v3'),
  ('https://cafe.de'), ('HTTPS://api.github.com:443/a/../b//'),
  ('https://[2001:200::1]'), ('https://[3fff:1000::1]'), ('https://192.88.98.1')) AS v(u);
DO $$
DECLARE
  u text;
  listed text[] := regexp_split_to_array(lower(current_setting('keypup.private_hosts')), '[, ]+');
  host text;
BEGIN
  FOREACH u IN ARRAY ARRAY['http://api.github.com', 'ftp://api.github.com', 'https://127.1', 'https://0x7f000001', 'https://2130706433',
    'https://017700000001', 'https://0.0.0.0', 'https://0', 'https://[::1]', 'https://[::ffff:127.0.0.1]', 'https://[::ffff:7f00:1]',
    'https://[::]', 'https://169.254.169.254', 'https://10.0.0.1', 'https://[64:ff9b::a00:1]', 'https://[2002:a00:1::]', 'https://[fd00:ec2::254]',
    'https://api.github.com@127.0.0.1/', 'https://user:password@api.github.com', 'https://api.github.com/?token=x', 'https://api.github.com/#x',
    'https://api.github.com/a b', 'https://localhost', 'https://localhost.', 'https://git.localhost', 'https://127.0.0.1.',
    'https://0x7f.1', 'https://10..', 'https://localhost..', 'https://127.0.0.1...', 'https://192.88.99.1',
    'https://[2001::1]', 'https://[2001:2::1]', 'https://[2001:10::1]', 'https://[2001:1ff::1]', 'https://[3fff:fff::1]', 'not a url', ''] LOOP
    BEGIN
      host := split_part(keypup.check_base_url(u), '/', 3);
      IF NOT host = ANY (listed) THEN
        RAISE WARNING '% is accepted', u;
      END IF;
      RAISE INFO '%: base URL cannot be used: its host is in a private network', u;
    EXCEPTION WHEN invalid_parameter_value THEN
      -- A newer libcurl takes the last dots of a name for no name at all.
      RAISE INFO '%: %', u, CASE WHEN u LIKE '%..%' THEN replace(SQLERRM, 'it is not a URL', 'its host is in a private network') ELSE SQLERRM END;
    END;
  END LOOP;
END
$$;

-- Replies: what text cannot hold is replaced, what is absurd is refused.
SELECT keypup.clean_json('{"a": "x\\u0000y", "b": "\\\\u0000", "c": "\\ud83d", "d": "\\ud83d\\ude00", "e": 12345678901234567890}');
SELECT keypup.clean_json('\x7b2261223a2022ff220a7d');
SELECT keypup.clean_json('[1e400]');
SELECT keypup.clean_json('[1e64, 1e-64, -0.5E+2]') = '[1e64, 1e-64, -50]';
SELECT keypup.clean_json('[1e65]');
SELECT keypup.clean_json('[1e4294967296]');
SELECT keypup.clean_json('[1e99999999999999999999]');
SELECT keypup.clean_json('\x5b225c00225d');
SELECT keypup.clean_json(convert_to('[' || repeat('9', 65) || ']', 'UTF8'));
SELECT keypup.clean_json(convert_to(repeat('[', 65) || repeat(']', 65), 'UTF8'));
SELECT keypup.clean_json(convert_to(repeat('[', 100000), 'UTF8'));
SELECT keypup.clean_json('<html>');
SELECT keypup.clean_json('{"a": 1');
SELECT keypup.clean_json('');

-- So is what is small as text and large as jsonb, or slow to sort.
SELECT keypup.clean_json(convert_to('[' || repeat('{},', 120000) || '1]', 'UTF8'));
SELECT keypup.clean_json(convert_to('[' || repeat('1,', 120000) || '1]', 'UTF8'));
SELECT jsonb_array_length(keypup.clean_json(convert_to('[' || repeat('{},', 119998) || '1]', 'UTF8')));
SELECT keypup.clean_json(convert_to('{' || string_agg(format('"%s": 1', n), ', ') || '}', 'UTF8')) FROM generate_series(1, 1001) AS n;
SELECT count(*) FROM (SELECT jsonb_object_keys(keypup.clean_json(convert_to('{' || string_agg(format('"%s": 1', n), ', ') || '}', 'UTF8')))
  FROM generate_series(1, 1000) AS n) AS names;
SELECT keypup.clean_json(decode('22' || repeat('ff', 100000) || '22', 'hex'));
SELECT keypup.clean_json(convert_to('"' || repeat('x', 8 * 1024 * 1024) || '"', 'UTF8'));

-- All else is what PostgreSQL makes of it, in every byte.
CREATE TEMPORARY TABLE texts (json text);
INSERT INTO texts VALUES ('null'), ('true'), ('false'), ('0'), ('-0'), ('1.50'), ('1E3'), ('-1e-3'), ('""'), ('" "'), ('[]'), ('{}'), ('[[]]'), ('[{}]'), ('{"": {}}'),
  (E' \t\r\n[ 1 ,\t2 , [ 3 ] ]\n '), ('{"b": 1, "a": 2, "aa": 3, "": 4}'), ('{"a": 1, "b": 2, "a": 3}'), ('{"a": {"a": {"a": [1, "a", null, true, {}]}}}'),
  ('"\"\\\/\b\f\n\r\t"'), ('"\u00e4\u20ac\ud83d\ude00"'), ('"ä€😀"'), ('{"\u0061": 1, "a": 2}'), ('{"ä": 1, "b": 2, "€": 3, "bb": 4}'),
  ('[1, [2, [3, [4, [5]]]], 6]'), ('{"a": [], "b": {}, "c": [{}, []], "d": ""}'), ('12345678901234567890.12345678901234567890'), ('[true, false, null, "true"]');
INSERT INTO texts SELECT jsonb_agg(n)::text FROM generate_series(1, 1000) AS n;
INSERT INTO texts SELECT jsonb_object_agg(md5(n::text), repeat('x', n))::text FROM generate_series(1, 300) AS n;
SELECT count(*), count(*) FILTER (WHERE ours *<> theirs) AS differ
FROM texts t, LATERAL (SELECT keypup.clean_json(convert_to(t.json, 'UTF8'))) AS ours (json), LATERAL (SELECT t.json::jsonb) AS theirs (json);

-- And what is no JSON to PostgreSQL is none here.
CREATE TEMPORARY TABLE answers (json text, ours boolean DEFAULT true, theirs boolean DEFAULT true);
INSERT INTO answers SELECT unnest(ARRAY['', ' ', 'nul', 'nulll', 'True', '+1', '.5', '1.', '01', '-', '1e', '1e+', '--1', '0x1', 'NaN', 'Infinity', '"', '"a', '"a\', '"\x"', '"\u12"',
  '"\u12g4"', E'"\t"', E'"\n"', '''a''', '[', ']', '[1', '[1,', '[1,]', '[,1]', '[1 2]', '[1]]', '{', '}', '{"a"}', '{"a":}', '{"a":1,}', '{a:1}', '{1:1}', '{"a":1 "b":2}',
  '{"a":1}}', '{"a",1}', '["a":1]', '1 2', '// 1', '[1] x', E'\u00a01', E'\ufeff1', 'true', '[1]']);
DO $$
DECLARE
  a record;
BEGIN
  FOR a IN SELECT json FROM answers LOOP
    BEGIN
      PERFORM keypup.clean_json(convert_to(a.json, 'UTF8'));
    EXCEPTION WHEN invalid_text_representation THEN
      UPDATE answers SET ours = false WHERE json = a.json;
    END;
    BEGIN
      PERFORM a.json::jsonb;
    EXCEPTION WHEN invalid_text_representation THEN
      UPDATE answers SET theirs = false WHERE json = a.json;
    END;
  END LOOP;
END
$$;
SELECT json FROM answers WHERE ours <> theirs;
SELECT json FROM answers WHERE ours;

-- Shapes: what is null, missing or of another kind is named, where it stands.
\set shapes '{"Item": {"title": "text", "number": "number?", "nodes": "[Node]", "id": "key~", "at": "time?", "on Bot": "Bot", "if more": "Next"}, "Node": {"good": "boolean"}, "Bot": {"owner": "Item?", "names": "[text]~"}, "Next": {"cursor": "text"}}'
SELECT keypup.misfits('[{"title": "a", "nodes": []}, {"title": "", "nodes": [{"good": true, "more": 1}], "id": 5, "number": null, "at": "2024-02-29T23:59:59.123+05:30"}]', 'Item', :'shapes') IS NULL AS fit;
SELECT d.position, keypup.misfits(jsonb_build_array(d.document), 'Item', :'shapes')
FROM jsonb_array_elements('[null, 5, [], {"nodes": []}, {"title": null, "nodes": []}, {"title": {"a": 1}, "nodes": []}, {"title": "a", "nodes": null}, {"title": "a", "nodes": [{"good": true}, null]},
  {"title": "a", "nodes": [{"good": true}, {"good": "yes"}]}, {"title": "a", "nodes": {}}, {"title": "a", "nodes": [], "id": null}, {"title": "a", "nodes": [], "id": []},
  {"title": "a", "nodes": [], "number": 1.5}, {"title": "a", "nodes": [], "number": 1000000000000000000}, {"title": "a", "nodes": [], "number": "1"},
  {"title": "a", "nodes": [], "at": "infinity"}, {"title": "a", "nodes": [], "at": "2026-13-01T00:00:00Z"}, {"title": "a", "nodes": [], "at": "2026-02-29T00:00:00Z"}, {"title": "a", "nodes": [], "at": "2026-02-28T24:00:00Z"},
  {"title": "a", "nodes": [], "at": "0000-01-01T00:00:00Z"}, {"title": "a", "nodes": [], "at": "2026-02-28T00:00:00"}, {"title": "a", "nodes": [], "at": "2026-02-28T00:00:00+16:00"},
  {"title": "a", "nodes": [], "__typename": "Bot", "owner": {"title": 1}}, {"title": "a", "nodes": [], "__typename": "Bot", "names": ["a", null]}, {"title": "a", "nodes": [], "__typename": "User", "names": 5},
  {"title": "a", "nodes": [], "more": true}, {"title": "a", "nodes": [], "more": false}]') WITH ORDINALITY AS d (document, position)
ORDER BY d.position;
SELECT keypup.misfits('5', 'Item', :'shapes');
SELECT keypup.misfits('[]', 'Item', :'shapes'), keypup.misfits('[]', 'text', '{}');
SELECT keypup.misfits('[1, -0.5, 1e308, 1e309, -1e400, "1", null]', 'decimal', '{}');
SELECT keypup.misfits('[1]', 'Nothing', :'shapes');
SELECT keypup.misfits('[1]', 'Item', '{"Item": {"a": "Nothing"}}');
SELECT keypup.misfits('[1]', 'Item', '{"Item": 1}');
-- As deep as a reply may be, and no deeper.
SELECT keypup.misfits(('[' || repeat('{"a": ', 62) || '1' || repeat('}', 62) || ']')::jsonb, 'Deep', '{"Deep": {"a": "Deep?"}}');
SELECT keypup.misfits(('[' || repeat('{"a": ', 200) || 'null' || repeat('}', 200) || ']')::jsonb, 'Deep', '{"Deep": {"a": "Deep?"}}');

-- Rows of lists, with columns of their types.
\set items '[{"number": 1, "labels": {"nodes": [{"name": "b"}, {"name": "a"}, {"name": "b"}, {"name": null}]}, "reviews": {"nodes": [{"id": "x", "at": "2024-02-29T23:59:59.1234567+05:30", "author": {"login": "z"}, "good": true}, {"key": 5, "author": null, "id": "y"}]}, "first": {"nodes": [{"at": "2024-01-01T00:00:00Z"}, {"at": "soon"}]}}, {"number": 2, "reviews": {"nodes": []}, "first": {"nodes": []}}, null, {"number": -9223372036854775808, "reviews": null}]'
SELECT * FROM keypup.json_rows(:'items', '', '{number,labels.nodes.name,first.nodes.0.at,reviews.nodes}') AS r (number bigint, labels text[], first timestamptz, reviews jsonb);
SELECT * FROM keypup.json_rows(:'items', 'reviews.nodes', '{../number,key|id,at,author.login,good,../labels.nodes.name}') AS r (number bigint, id text, at timestamptz, login text, good boolean, labels text[]);
SELECT * FROM keypup.json_rows('[{"id": "t", "threads": [{"id": 7, "comments": {"nodes": [{"id": "c"}]}}]}]', 'threads.comments.nodes', '{../../id,../id,id}') AS r (a text, b text, c text);
SELECT * FROM keypup.json_objects('{"login": null, "a": [{"login": "a", "b": {"login": "b", "id": 2}}, {"login": {"login": "c"}}, 5]}', 'login', '{login,id}') AS r (login text, id text);
-- Times are read as PostgreSQL reads them.
SELECT t.time FROM unnest(ARRAY['0001-01-01T00:00:00Z', '9999-12-31T23:59:59.9999995Z', '2024-02-29T23:59:59.5+14:59', '2000-01-01T00:00:00.000001-00:00', '1999-12-31T23:59:59.1234565Z', '2026-07-08T09:10:11.Z']) AS t (time),
  keypup.json_rows(jsonb_build_array(jsonb_build_object('at', t.time)), '', '{at}') AS r (at timestamptz)
WHERE r.at IS DISTINCT FROM t.time::timestamptz;
-- What is of another kind is an error.
SELECT * FROM keypup.json_rows('[{"a": {}}]', '', '{a}') AS r (a text);
SELECT * FROM keypup.json_rows('[{"a": true}]', '', '{a}') AS r (a text);
SELECT * FROM keypup.json_rows('[{"a": "1"}]', '', '{a}') AS r (a bigint);
SELECT * FROM keypup.json_rows('[{"a": 1.5}]', '', '{a}') AS r (a bigint);
SELECT * FROM keypup.json_rows('[{"a": 9223372036854775808}]', '', '{a}') AS r (a bigint);
SELECT * FROM keypup.json_rows('[{"a": "true"}]', '', '{a}') AS r (a boolean);
SELECT * FROM keypup.json_rows('[{"a": "infinity"}]', '', '{a}') AS r (a timestamptz);
SELECT * FROM keypup.json_rows('[{"a": "2026-13-45T00:00:00Z"}]', '', '{a}') AS r (a timestamptz);
SELECT * FROM keypup.json_rows('[{"a": [{"b": {}}]}]', '', '{a.b}') AS r (a text[]);
SELECT * FROM keypup.json_rows('[{"a": ["b"]}]', '', '{a.b}') AS r (a text[]);
SELECT * FROM keypup.json_rows('[{"a": "b"}]', '', '{a.b}') AS r (a text);
SELECT * FROM keypup.json_rows('[{"a": [1]}]', '', '{a.b}') AS r (a text);
SELECT * FROM keypup.json_rows('[5]', '', '{a}') AS r (a text);
SELECT * FROM keypup.json_rows('{"a": 1}', '', '{a}') AS r (a text);
SELECT * FROM keypup.json_rows('5', '', '{a}') AS r (a text);
SELECT * FROM keypup.json_rows('[{"a": {}}]', 'a', '{a}') AS r (a text);
SELECT * FROM keypup.json_rows('[{"a": 5}]', 'a', '{a}') AS r (a text);
-- And so is what cannot be meant.
SELECT * FROM keypup.json_rows('[{"a": 5}]', '', '{a,b}') AS r (a text);
SELECT * FROM keypup.json_rows('[{"a": 5}]', '', '{../a}') AS r (a text);
SELECT * FROM keypup.json_rows('[{"a": 5}]', '', '{a..b}') AS r (a text);
SELECT * FROM keypup.json_rows('[{"a": 5}]', '', '{a}') AS r (a double precision);
SELECT * FROM keypup.json_rows('[{"a": 5}]', repeat('a.', 6) || 'a', '{a}') AS r (a text);
