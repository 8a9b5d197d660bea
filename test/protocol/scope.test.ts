import { describe, expect, it } from 'vitest';
import { isScopeToken, parseScope } from '../../src/protocol/scope.ts';

describe('scope (RFC 6749 §3.3)', () => {
  it.each([
    ['openid', ['openid']],
    ['b a', ['b', 'a']],
    ['  a   b ', ['a', 'b']],
    ['a b a', ['a', 'b']],
    ['A a', ['A', 'a']],
    ['', []],
    [' ', []],
    ["!#$%&'()*+,-./:;<=>?@[]^_`{|}~", ["!#$%&'()*+,-./:;<=>?@[]^_`{|}~"]],
    ['__proto__ constructor', ['__proto__', 'constructor']],
  ])('%j is %j', (text, tokens) => {
    expect(parseScope(text)).toEqual(tokens);
  });

  it.each(['a"b', 'a\\b', 'é', 'a\tb', 'a\nb', 'a\u00A0b', 'a\x7F', '\u200Ba'])('%j is malformed', (text) => {
    expect(() => parseScope(text)).toThrow(expect.objectContaining({ code: 'invalid_scope' }));
    expect(isScopeToken(text)).toBe(false);
  });

  it('takes a hundred values and refuses more', () => {
    const values = (count: number) => Array.from({ length: count }, (_, index) => `s${index}`).join(' ');
    expect(parseScope(values(100))).toHaveLength(100);
    expect(() => parseScope(values(101))).toThrow(expect.objectContaining({ code: 'invalid_scope' }));
  });
});
