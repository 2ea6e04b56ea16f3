use super::*;

fn push(lines: &mut Lines, text: &str) -> u64 {
    lines.push(text.as_bytes(), 7, Stream::Out, 1)
}

fn texts(batch: &Batch) -> Vec<&str> {
    batch.lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn numbers_begin_at_one_and_gaps_are_counted() {
    let mut lines = Lines::new(12, 0);
    assert_eq!(lines.copy_after(0, 100).into_batch(), Batch { lines: vec![], next: 0, missed: 0 });
    assert_eq!(push(&mut lines, "aa\nbb\ncc\n"), 3);
    for (after, expected, missed) in
        [(0, &["aa", "bb", "cc"][..], 0), (1, &["bb", "cc"], 0), (3, &[], 0), (9, &["aa", "bb", "cc"], 0)]
    {
        let batch = lines.copy_after(after, 100).into_batch();
        assert_eq!((texts(&batch), batch.next, batch.missed), (expected.to_vec(), 3, missed), "after {after}");
    }
    push(&mut lines, "dd\n");
    assert_eq!(lines.held, 4, "exactly full holds all");
    push(&mut lines, "e\n");
    for (after, first, missed) in [(0, 2, 1), (1, 2, 0), (2, 3, 0)] {
        let batch = lines.copy_after(after, 100).into_batch();
        assert_eq!((batch.lines[0].seq, batch.next, batch.missed), (first, 5, missed), "after {after}");
    }
}

#[test]
fn a_block_larger_than_the_ring_counts_all_its_lines() {
    let mut lines = Lines::new(100, 0);
    push(&mut lines, "old\n");
    let block: String = (1..=1000).map(|n| format!("line {n}\n")).collect();
    assert_eq!(push(&mut lines, &block), 1000);
    let batch = lines.copy_after(0, 1000).into_batch();
    let last = batch.lines.last().unwrap();
    assert_eq!((last.seq, last.text.as_str()), (1001, "line 1000"));
    assert_eq!(batch.missed + batch.lines.len() as u64, 1001);
    assert_eq!(batch.lines[0].text, format!("line {}", batch.lines[0].seq - 1));
    assert!(lines.bytes.len() <= 100 && lines.bytes.len() > 80);
    // A single line above the limit is kept until the next one comes.
    push(&mut lines, &format!("{}\n", "x".repeat(300)));
    assert_eq!(lines.copy_after(0, 10).into_batch().lines[0].text.len(), 300);
    push(&mut lines, "next\n");
    assert_eq!(texts(&lines.copy_after(0, 10).into_batch()), ["next"]);
}

/// What is known of the lines has its bounds like the lines.
#[test]
fn tiny_lines_one_by_one_take_no_more_than_large_ones() {
    let mut lines = Lines::new(BYTES_PER_RUN * 10, 0);
    for at_ms in 0..100 {
        lines.push(b"\n", at_ms, Stream::Out, 1);
        assert!(lines.runs.len() <= 10, "{}", lines.runs.len());
    }
    assert_eq!((lines.held, lines.bytes.len()), (10, 10));
    // What arrives with the last is a part of it, and takes no other's place.
    lines.push(b"\n", 99, Stream::Out, 1);
    assert_eq!((lines.runs.len(), lines.held), (10, 11));
}

#[test]
fn lines_keep_their_time_stream_and_child() {
    let mut lines = Lines::new(1000, 0);
    lines.push(b"a\nb\n", 10, Stream::Out, 1);
    lines.push(b"c\n", 10, Stream::Err, 1);
    lines.push(b"d\n", 11, Stream::Supervisor, 2);
    let batch = lines.copy_after(1, 1000).into_batch();
    let facts: Vec<_> = batch.lines.iter().map(|line| (line.seq, line.at_ms, line.stream, line.generation)).collect();
    assert_eq!(facts, [(2, 10, Stream::Out, 1), (3, 10, Stream::Err, 1), (4, 11, Stream::Supervisor, 2)]);
}

#[test]
fn a_batch_keeps_to_its_bytes_but_has_one_line() {
    let mut lines = Lines::new(1000, 0);
    push(&mut lines, "aaaa\nbb\n");
    lines.push(b"c\n", 8, Stream::Out, 1);
    for (max_bytes, expected) in
        [(0, &["aaaa"][..]), (5, &["aaaa"]), (7, &["aaaa"]), (8, &["aaaa", "bb"]), (10, &["aaaa", "bb", "c"])]
    {
        let batch = lines.copy_after(0, max_bytes).into_batch();
        assert_eq!(texts(&batch), expected, "{max_bytes}");
        assert_eq!(batch.next, expected.len() as u64);
    }
}

/// Plays random pushes against a list of strings, over the wrap of the byte queue.
#[test]
fn random_pushes_keep_the_newest_lines_in_order() {
    let mut seed: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut lines = Lines::new(500, 0);
    let mut all = Vec::new();
    for step in 0..3_000 {
        let mut block = String::new();
        for _ in 0..=random(6) {
            let text = format!("{}:{}", all.len() + 1, "x".repeat(random(40) as usize));
            block.push_str(&text);
            block.push('\n');
            all.push(text);
        }
        lines.push(block.as_bytes(), random(3), Stream::Out, 0);
        let after = random(all.len() as u64 + 1);
        let batch = lines.copy_after(after, 100_000).into_batch();
        assert_eq!(after + batch.missed + batch.lines.len() as u64, all.len() as u64, "step {step}");
        for line in &batch.lines {
            assert_eq!(line.text, all[line.seq as usize - 1], "step {step}");
        }
        let held: usize = all[all.len() - lines.held as usize..].iter().map(|text| text.len() + 1).sum();
        assert_eq!(held, lines.bytes.len(), "step {step}");
        assert!(held <= 500 && lines.bytes.capacity() <= 1000 && lines.runs.len() <= 500 / BYTES_PER_RUN);
    }
}

#[test]
fn a_quiet_ring_is_small() {
    let mut lines = Lines::new(64 * 1024, 0);
    assert_eq!((lines.bytes.capacity(), lines.runs.capacity()), (0, 0));
    assert!(size_of::<Lines>() < 150);
    for n in 0..10 {
        lines.push(&[b'x'; 100], n, Stream::Out, 0);
    }
    assert!(lines.bytes.capacity() <= 2_000);
}
