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
      RAISE INFO '%: %', u, SQLERRM;
    END;
  END LOOP;
END
$$;

-- Replies: what text cannot hold is replaced, what is absurd is refused.
SELECT keypup.clean_json('{"a": "x\\u0000y", "b": "\\\\u0000", "c": "\\ud83d", "d": "\\ud83d\\ude00", "e": 12345678901234567890}');
SELECT keypup.clean_json('\x7b2261223a2022ff220a7d');
SELECT keypup.clean_json('[1e400]');
SELECT keypup.clean_json('[1e308, 1e-308]') = '[1e308, 1e-308]';
SELECT keypup.clean_json('[1e4294967296]');
SELECT keypup.clean_json('[1e99999999999999999999]');
SELECT keypup.clean_json('\x5b225c00225d');
SELECT keypup.clean_json(convert_to('[' || repeat('9', 65) || ']', 'UTF8'));
SELECT keypup.clean_json(convert_to(repeat('[', 65) || repeat(']', 65), 'UTF8'));
SELECT keypup.clean_json(convert_to(repeat('[', 100000), 'UTF8'));
SELECT keypup.clean_json('<html>');
SELECT keypup.clean_json('{"a": 1');
SELECT keypup.clean_json('');
