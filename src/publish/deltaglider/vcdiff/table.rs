/// One half of an instruction code. A size of 0 is one that follows in the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Nothing,
    Add(u8),
    Run,
    /// Its size, and the mode of its address.
    Copy(u8, u8),
}

/// The default code table of RFC 3284, section 5.6: for each code, what is done first and what then.
pub(super) const TABLE: [(Half, Half); 256] = table();

const fn table() -> [(Half, Half); 256] {
    let mut table = [(Half::Nothing, Half::Nothing); 256];
    table[0] = (Half::Run, Half::Nothing);
    let mut code = 1;
    let mut size = 0;
    while size <= 17 {
        table[code] = (Half::Add(size), Half::Nothing);
        code += 1;
        size += 1;
    }
    let mut mode = 0;
    while mode <= 8 {
        table[code] = (Half::Copy(0, mode), Half::Nothing);
        code += 1;
        let mut size = 4;
        while size <= 18 {
            table[code] = (Half::Copy(size, mode), Half::Nothing);
            code += 1;
            size += 1;
        }
        mode += 1;
    }
    let mut mode = 0;
    while mode <= 8 {
        let longest = if mode < 6 { 6 } else { 4 };
        let mut add = 1;
        while add <= 4 {
            let mut copy = 4;
            while copy <= longest {
                table[code] = (Half::Add(add), Half::Copy(copy, mode));
                code += 1;
                copy += 1;
            }
            add += 1;
        }
        mode += 1;
    }
    let mut mode = 0;
    while mode <= 8 {
        table[code] = (Half::Copy(4, mode), Half::Add(1));
        code += 1;
        mode += 1;
    }
    assert!(code == 256, "the table has 256 codes");
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_lines_of_the_rfc() {
        for (code, first, then) in [
            (0, Half::Run, Half::Nothing),
            (1, Half::Add(0), Half::Nothing),
            (18, Half::Add(17), Half::Nothing),
            (19, Half::Copy(0, 0), Half::Nothing),
            (34, Half::Copy(18, 0), Half::Nothing),
            (162, Half::Copy(18, 8), Half::Nothing),
            (163, Half::Add(1), Half::Copy(4, 0)),
            (174, Half::Add(4), Half::Copy(6, 0)),
            (234, Half::Add(4), Half::Copy(6, 5)),
            (235, Half::Add(1), Half::Copy(4, 6)),
            (246, Half::Add(4), Half::Copy(4, 8)),
            (247, Half::Copy(4, 0), Half::Add(1)),
            (255, Half::Copy(4, 8), Half::Add(1)),
        ] {
            assert_eq!(TABLE[code], (first, then), "{code}");
        }
    }
}
