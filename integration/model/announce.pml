/* SPDX-FileCopyrightText: The caddy-dpop authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * Announce, then look: the protocol of package replay's Log, for one proof x and three processes on one storage.
 *
 * Every storage call is one step, and any other process may do anything between two of them. Clocks differ and
 * step at will: a process that reads its clock finds x expired or not, however it was the last time. Anybody may
 * close any name at any time. A Store may time out and land later, or never. A process has one name; when it
 * would take a new one it ends here, since one that has forgotten everything is like one of the others.
 *
 * What it takes to go wrong is one process that accepts x, one that accepts it again, and one that has seen the
 * first name before it held x, or that sweeps it. So processes 0 and 2 claim x, once each; process 1 commits
 * twice, with or without x, and sweeps. Process 0 is the one whose Store may land late.
 *
 * Left out, and covered by the interleaving test of package replay: seals (a head is read and swept in one step),
 * several proofs, the cut-off.
 *
 * Variants, each of which accepts x twice:
 *   -DLOOK_FIRST  look, then announce
 *   -DNO_PASS     a claim counts whether or not the name is still open
 *   -DNO_MARKS    marks are not heeded
 */
#define NODES 3
#define BIT(i) (1 << (i))

/* The storage, a bit for each name. */
byte pass = 7;    /* the name is open */
byte head;        /* there is a head */
byte has;         /* it holds x */
byte mark;        /* its mark is at or after the expiry of x */
bool late;        /* the Store of process 0 that timed out has yet to land */

byte accepted;

/* list is one listing, from which the process remembers which other names are there, and which of them open. */
inline list() {
	atomic {
		listed = (pass | head) & ~BIT(me) & ~done;
		open = pass & listed;
		again = false;
#ifndef NO_PASS
		if
		:: !(pass & head & BIT(me)) -> stop = true; listed = 0; open = 0
		:: else
		fi;
#endif
	}
}

/* load reads the head of name k, which was listed and is not known to be finished. */
inline load(k) {
	if
	:: head & BIT(k) ->
		contested = contested || (has & BIT(k));
		known = known || (has & BIT(k));
		seen = seen || (mark & BIT(k));
		gone = gone & ~BIT(k);
		done = done | (BIT(k) & ~open)
	:: !(head & BIT(k)) && !(gone & BIT(k)) ->
		gone = gone | BIT(k);
		again = true
	:: else ->                  /* gone again: it holds nothing */
		done = done | (BIT(k) & ~open)
	fi;
	listed = listed & ~BIT(k);
	open = open & ~BIT(k)
}

/* look reads the other names in any order, and all of them again if one was gone. */
inline look() {
	list();
	do
	:: atomic { listed & BIT(0) -> load(0) }
	:: atomic { listed & BIT(1) -> load(1) }
	:: atomic { listed & BIT(2) -> load(2) }
	:: listed == 0 && again && !stop -> list()
	:: atomic { listed == 0 && (!again || stop) -> gone = 0; again = false; break }
	od
}

/* announce stores the head. The mark in it covers x if x has expired by the clock. */
inline announce() {
	atomic {
		if
		:: me == 1 -> ours = true
		:: true
		fi;
		if
		:: head = head | BIT(me);
			has = has | (pending -> BIT(me) : 0);
			mark = mark | (ours -> BIT(me) : 0)
		:: me == 0 -> late = true; stop = true
		fi
	}
}

proctype Process(byte me; byte commits) {
	bool known, forgot;         /* table: x is in it; x has been dropped from it */
	bool pending, contested;    /* a claim for x is on its way; another name has x too */
	bool seen, ours, counts;    /* a mark covers x: another's, ours, ours and it counts */
	bool stop, again;
	byte listed, open, gone;    /* of the present look */
	byte done;                  /* names that were closed and have been read since */

	do
	:: commits > 0 && !stop ->
		atomic {
			commits--;
			if
			:: !known && !forgot -> pending = true; known = true
			:: me == 1
			:: known || forgot
			fi
		}
#ifdef LOOK_FIRST
		head = head | BIT(me);      /* an empty one, or no listing would show the name */
		look();
		announce();
#else
		announce();
		look();
#endif
		/* The verdict. The clock, read after the look, may still refuse. */
		atomic {
			if
#ifdef NO_MARKS
			:: pending && !stop && !contested && !forgot ->
#else
			:: pending && !stop && !contested && !forgot && !seen && !ours ->
#endif
				accepted++;
				assert(accepted <= 1)
			:: true
			fi;
			counts = counts || (ours && !stop);
			pending = false; contested = false;
			/* What has expired by the clock is dropped from memory. */
			if
			:: me == 1 && known -> known = false; forgot = true
			:: true
			fi
		}
		/* Closed names that have been read are swept, once our mark counts. */
		if
		:: counts && (done & BIT(0)) -> atomic { head = head & ~BIT(0); has = has & ~BIT(0); mark = mark & ~BIT(0) }
		:: true
		fi
	:: else -> break
	od;
	atomic { known = false; forgot = false; seen = false; ours = false; counts = false; stop = false; done = 0; commits = 0 }
}

/* What may happen at any time. Closing name 2 would only keep process 2 from accepting. */
proctype World() {
	do
	:: atomic { pass & BIT(0) -> pass = pass & ~BIT(0) }    /* somebody closes a name */
	:: atomic { pass & BIT(1) -> pass = pass & ~BIT(1) }
	:: atomic { late -> late = false; head = head | BIT(0); has = has | BIT(0) }
	od
}

init {
	atomic { run Process(0, 1); run Process(1, 2); run Process(2, 1); run World() }
}
