/**
 * Authorization details at the token endpoint, as properties (RFC 9396 §6.1): whatever was granted, a part of it is had, and
 * nothing is that says anything else, however it was made out of what was granted.
 */
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { decodeJwt } from 'jose';
import { describe, expect, it } from 'vitest';
import { withinGranted } from '../../src/protocol/authorization-details.ts';
import type { AuthorizationDetail } from '../../src/protocol/details-type.ts';
import { OAuthError } from '../../src/protocol/errors.ts';
import { PRINT, redeemShop, refreshShop, startPaymentsWorld } from '../support/payments-world.ts';

/** RFC 9396 §2.2: the members whose items are permissions. */
const PERMISSIONS = ['actions', 'datatypes', 'privileges'] as const;

const permission = fc.constantFrom('read', 'write', 'delete', 'list', '');
/** Items in any order, some of them twice. */
const permissions = fc.array(permission, { maxLength: 5 });
const own = fc.constantFrom('amount', 'creditor', 'locations', 'identifier', 'action', 'constructor', 'toString', '0');
const detail: fc.Arbitrary<AuthorizationDetail> = fc
  .tuple(
    fc.constantFrom('payment', 'photo_print'),
    fc.record(
      { actions: permissions, datatypes: permissions, privileges: fc.oneof(permissions, fc.string()) },
      { requiredKeys: [] },
    ),
    fc.dictionary(own, fc.oneof(fc.jsonValue({ maxDepth: 2 }), permissions), { maxKeys: 3 }),
  )
  // As they come: out of JSON.
  .map(([type, lists, members]) => JSON.parse(JSON.stringify({ ...members, ...lists, type })) as AuthorizationDetail);
const granted = fc.array(detail, { minLength: 1, maxLength: 4 });

const isRefused = (asked: readonly AuthorizationDetail[], all: readonly AuthorizationDetail[]): boolean => {
  try {
    withinGranted(asked, all);
    return false;
  } catch (error) {
    expect(error).toBeInstanceOf(OAuthError);
    expect((error as OAuthError).code).toBe('invalid_authorization_details');
    return true;
  }
};

/**
 * What a detail allows, flat: each permission on its own, and everything else as it is. A list of permissions that is empty, or
 * none, says something of its own: it may stand for all of them.
 */
function saidBy(value: AuthorizationDetail): { rest: unknown; lists: Map<string, ReadonlySet<unknown>> } {
  const lists = new Map<string, ReadonlySet<unknown>>();
  const rest = Object.entries(value).filter(([name, member]) => {
    if (!PERMISSIONS.some((list) => list === name) || !Array.isArray(member) || member.length === 0) return true;
    lists.set(name, new Set(member));
    return false;
  });
  return { rest: Object.fromEntries(rest), lists };
}

/** By the words of the specification, written another way than the server has it. */
function isNoMore(asked: AuthorizationDetail, one: AuthorizationDetail): boolean {
  const [part, whole] = [saidBy(asked), saidBy(one)];
  return (
    isDeepStrictEqual(part.rest, whole.rest) &&
    part.lists.size === whole.lists.size &&
    [...part.lists].every(([name, items]) => [...items].every((item) => whole.lists.get(name)?.has(item)))
  );
}

/** Whether each of them can be had of another one of those granted: every way of giving them out is tried. */
function canBeGivenOut(
  [first, ...others]: readonly AuthorizationDetail[],
  all: readonly AuthorizationDetail[],
): boolean {
  if (first === undefined) return true;
  return all.some((one, index) => isNoMore(first, one) && canBeGivenOut(others, all.toSpliced(index, 1)));
}

describe('RFC 9396 §6.1, properties', () => {
  it('all that was granted is had, in any order, and so is every part of it', () => {
    const parts = granted.chain((all) =>
      fc
        .shuffledSubarray(all)
        .chain((some) => fc.tuple(...some.map((one) => narrower(one))))
        .map((some) => [all, some as AuthorizationDetail[]] as const),
    );
    fc.assert(
      fc.property(parts, ([all, some]) => {
        for (const one of some) expect(all.some((whole) => isNoMore(one, whole))).toBe(true);
        // One alone is always had; of several, those that are as they were.
        for (const one of some) expect(withinGranted([one], all)).toEqual([one]);
        expect(withinGranted(all.toReversed(), all)).toEqual(all.toReversed());
      }),
    );
  });

  it('what is had can be given out of what was granted, each of another one, and comes as it was asked for', () => {
    const asking = granted.chain((all) =>
      fc.tuple(fc.constant(all), fc.array(fc.oneof(detail, fc.constantFrom(...all), changed(all)), { maxLength: 5 })),
    );
    fc.assert(
      fc.property(asking, ([all, asked]) => {
        const before = structuredClone({ all, asked });
        if (!isRefused(asked, all)) {
          expect(canBeGivenOut(asked, all)).toBe(true);
          expect(withinGranted(asked, all)).toEqual(asked);
        }
        expect({ all, asked }).toEqual(before);
      }),
      { numRuns: 500 },
    );
  });

  it('another type, another value, a member more or less, and more in a list are never less', () => {
    const mutated = granted.chain((all) => fc.tuple(fc.constant(all), changed(all)));
    fc.assert(
      fc.property(mutated, ([all, asked]) => {
        fc.pre(!all.some((one) => isNoMore(asked, one)));
        expect(isRefused([asked], all)).toBe(true);
        // Nor beside what is good.
        expect(isRefused([...all.slice(1), asked], all)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('what was granted once is not had twice', () => {
    fc.assert(
      fc.property(granted, fc.nat(), (all, index) => {
        const again = all[index % all.length];
        if (again) expect(isRefused([...all, again], all)).toBe(true);
      }),
    );
  });
});

it('RFC 9396 §6.1, §7: over HTTP, no token has more than was allowed, whatever a token request asks for', async () => {
  const world = await startPaymentsWorld();
  try {
    const all = [PRINT, { ...PRINT, album: 'Rome', actions: ['list', 'cancel'] }];
    const { json } = await redeemShop(world, { details: all });
    const asking = fc.array(fc.oneof(changed(all), ...all.map(narrower)), { minLength: 1, maxLength: 3 });
    const seen = new Set<number>();
    await fc.assert(
      fc.asyncProperty(asking, async (details) => {
        const answer = await refreshShop(world, json.refresh_token, { authorization_details: JSON.stringify(details) });
        seen.add(answer.status);
        if (answer.status !== 200) {
          expect([answer.status, answer.json.error]).toEqual([400, 'invalid_authorization_details']);
          return;
        }
        const had = answer.json.authorization_details as AuthorizationDetail[];
        expect(had).toEqual(details);
        expect(canBeGivenOut(had, all)).toBe(true);
        expect(decodeJwt(String(answer.json.access_token)).authorization_details).toEqual(had);
      }),
      { numRuns: 60 },
    );
    // Neither refuses all nor takes all.
    expect([...seen].sort()).toEqual([200, 400]);
    expect((await refreshShop(world, json.refresh_token)).json.authorization_details).toEqual(all);
  } finally {
    await world.close();
  }
});

/** A part of a detail: fewer items in its lists of permissions, one of each at least. */
function narrower(whole: AuthorizationDetail): fc.Arbitrary<AuthorizationDetail> {
  const names = PERMISSIONS.filter((name) => Array.isArray(whole[name]) && (whole[name] as unknown[]).length > 0);
  const lists = names.map((name) => fc.shuffledSubarray(whole[name] as unknown[], { minLength: 1 }));
  return fc
    .tuple(...lists)
    .map((some) => ({ ...whole, ...Object.fromEntries(names.map((name, index) => [name, some[index]])) }));
}

/** One of the details, with something changed that says something else, or nothing at all. */
function changed(all: readonly AuthorizationDetail[]): fc.Arbitrary<AuthorizationDetail> {
  return fc.constantFrom(...all).chain((whole) => {
    const names = Object.keys(whole);
    const name = fc.constantFrom(...names);
    const value = fc.oneof(fc.jsonValue({ maxDepth: 1 }), permissions);
    return fc.oneof(
      fc.constantFrom('payment', 'photo_print', 'other', 'Payment', '').map((type) => ({ ...whole, type })),
      fc.tuple(fc.oneof(own, fc.constantFrom(...PERMISSIONS), fc.constant('extra')), value).map(([more, any]) => ({
        ...whole,
        [more]: any,
      })),
      name.map((gone) => ({
        ...Object.fromEntries(Object.entries(whole).filter(([each]) => each !== gone)),
        type: whole.type,
      })),
      fc.tuple(name, value).map(([other, any]) => ({ ...whole, [other]: any, type: whole.type })),
      fc.tuple(fc.constantFrom(...PERMISSIONS), permission).map(([list, more]) => ({
        ...whole,
        [list]: Array.isArray(whole[list]) ? [...(whole[list] as unknown[]), more] : [more],
      })),
      // Less of a list, whatever is in it.
      name.map((other) => {
        const member = whole[other];
        return { ...whole, [other]: Array.isArray(member) ? member.slice(1) : member };
      }),
      // A list as its one item, an object as a list of itself, a number as its digits: the same to a careless reader.
      name.map((other) => {
        const [first] = [whole[other]].flat();
        const loose = Array.isArray(whole[other]) ? first : other === 'type' ? whole.type : [whole[other]];
        return { ...whole, [other]: loose ?? null, type: whole.type };
      }),
      name.map((other) => ({ ...whole, [other]: JSON.stringify(whole[other]) ?? '', type: whole.type })),
    ) as fc.Arbitrary<AuthorizationDetail>;
  });
}
