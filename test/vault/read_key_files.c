/*
 * read_key_files.c
 *		Key files, good and bad, through the very function that reads them.
 */
#include "records.h"
#include "token/key_file.h"

#define DIGITS "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"

static const struct
{
	const char *what;
	const char *text;
	const char *problem; /* NULL: read */
	int line;
	int count;
	uint32_t newest;
} cases[] = {
	{"one key", "1 " DIGITS "\n", NULL, 1, 1, 1},
	{"no line end at the end", "1 " DIGITS, NULL, 1, 1, 1},
	{"comments, blank lines, blanks and CR", "# c\n\n \t 12\t" DIGITS " \r\n#\n", NULL, 4, 1, 12},
	{"the highest is the newest", "3 " DIGITS "\n9 " DIGITS "\n4 " DIGITS "\n", NULL, 3, 3, 9},
	{"the highest number", "2147483647 " DIGITS, NULL, 1, 1, 2147483647},
	{"nothing", "", "has no key", 1, 0, 0},
	{"comments only", "# x\n\n", "has no key", 1, 0, 0},
	{"number 0", "0 " DIGITS, "does not begin with a key's number", 1, 0, 0},
	{"a number beyond 2^31 - 1", "2147483648 " DIGITS, "does not begin with a key's number", 1, 0,
	 0},
	{"a number of 30 digits", "111111111111111111111111111111 " DIGITS,
	 "does not begin with a key's number", 1, 0, 0},
	{"a negative number", "-1 " DIGITS, "does not begin with a key's number", 1, 0, 0},
	{"no number", DIGITS, "does not begin with a key's number", 1, 0, 0},
	{"a number alone", "1", "does not begin with a key's number", 1, 0, 0},
	{"no blank", "1x" DIGITS, "does not begin with a key's number", 1, 0, 0},
	{"a number without a key", "5 \n", "does not begin with a key's number", 1, 0, 0},
	{"63 digits", "1 0" DIGITS, "does not have 64 hexadecimal digits", 1, 0, 0},
	{"another character",
	 "1 \x80"
	 "123456789012345678901234567890123456789012345678901234567890123",
	 "does not have 64 hexadecimal digits", 1, 0, 0},
	{"a repeated number", "1 " DIGITS "\n2 " DIGITS "\n1 " DIGITS "\n", "repeats a key's number", 3,
	 2, 0},
	{"a second key that is short", "1 " DIGITS "\n2 ab\n", "does not have 64 hexadecimal digits", 2,
	 1, 0}};

int
main(void)
{
	static WrappingKeys keys;
	static char many[300 * 80];
	size_t length = 0;
	int number = 1;
	int line;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const char *problem = parse_key_file(cases[i].text, strlen(cases[i].text), &keys, &line);
		bool holds = cases[i].problem == NULL
						 ? problem == NULL && keys.count == cases[i].count &&
							   find_wrapping_key(&keys, 0)->key_id == cases[i].newest &&
							   find_wrapping_key(&keys, cases[i].newest)->bytes[31] == 0x1f
						 : problem != NULL && strcmp(problem, cases[i].problem) == 0 &&
							   line == cases[i].line;

		number = report(holds, number, cases[i].what);
	}
	for (int i = 1; i <= KEY_FILE_MAX_KEYS + 1; i++)
		length += (size_t) snprintf(many + length, sizeof(many) - length, "%d %s\n", i, DIGITS);
	number =
		report(parse_key_file(many, length, &keys, &line) != NULL && line == KEY_FILE_MAX_KEYS + 1,
			   number, "257 keys are one too many");
	number = report(parse_key_file("1 " DIGITS "\0 x", 68 + 1, &keys, &line) != NULL, number,
					"a NUL is no blank");
	number = report(find_wrapping_key(&keys, 77) == NULL, number, "a number that is not there");
	printf("1..%d\n", number - 1);
	return 0;
}
