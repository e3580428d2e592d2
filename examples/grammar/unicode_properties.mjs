// Writes the Unicode properties that ECMA-262 patterns name, one a line: `name name ...|gap,length gap,length ...` in base 36.
// node unicode_properties.mjs > grammar/text/unicode.txt
const BINARY = `ASCII ASCII_Hex_Digit:AHex Alphabetic:Alpha Any Assigned Bidi_Control:Bidi_C Bidi_Mirrored:Bidi_M Case_Ignorable:CI Cased
Changes_When_Casefolded:CWCF Changes_When_Casemapped:CWCM Changes_When_Lowercased:CWL Changes_When_NFKC_Casefolded:CWKCF
Changes_When_Titlecased:CWT Changes_When_Uppercased:CWU Dash Default_Ignorable_Code_Point:DI Deprecated:Dep Diacritic:Dia Emoji
Emoji_Component:EComp Emoji_Modifier:EMod Emoji_Modifier_Base:EBase Emoji_Presentation:EPres Extended_Pictographic:ExtPict Extender:Ext
Grapheme_Base:Gr_Base Grapheme_Extend:Gr_Ext Hex_Digit:Hex IDS_Binary_Operator:IDSB IDS_Trinary_Operator:IDST ID_Continue:IDC
ID_Start:IDS Ideographic:Ideo Join_Control:Join_C Logical_Order_Exception:LOE Lowercase:Lower Math Noncharacter_Code_Point:NChar
Pattern_Syntax:Pat_Syn Pattern_White_Space:Pat_WS Quotation_Mark:QMark Radical Regional_Indicator:RI Sentence_Terminal:STerm
Soft_Dotted:SD Terminal_Punctuation:Term Unified_Ideograph:UIdeo Uppercase:Upper Variation_Selector:VS White_Space:space
XID_Continue:XIDC XID_Start:XIDS`.split(/\s+/)
const CATEGORY = `Cased_Letter:LC Close_Punctuation:Pe Connector_Punctuation:Pc Control:Cc:cntrl Currency_Symbol:Sc Dash_Punctuation:Pd
Decimal_Number:Nd:digit Enclosing_Mark:Me Final_Punctuation:Pf Format:Cf Initial_Punctuation:Pi Letter:L Letter_Number:Nl
Line_Separator:Zl Lowercase_Letter:Ll Mark:M:Combining_Mark Math_Symbol:Sm Modifier_Letter:Lm Modifier_Symbol:Sk Nonspacing_Mark:Mn
Number:N Open_Punctuation:Ps Other:C Other_Letter:Lo Other_Number:No Other_Punctuation:Po Other_Symbol:So Paragraph_Separator:Zp
Private_Use:Co Punctuation:P:punct Separator:Z Space_Separator:Zs Spacing_Mark:Mc Surrogate:Cs Symbol:S Titlecase_Letter:Lt
Unassigned:Cn Uppercase_Letter:Lu`.split(/\s+/)
const SCRIPT = `Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali Beria_Erfe Bhaiksuki Bopomofo Brahmi
Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot
Cypro_Minoan Cyrillic Deseret Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Garay Georgian Glagolitic
Gothic Grantha Greek Gujarati Gunjala_Gondi Gurmukhi Gurung_Khema Han Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic
Inherited Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kawi Kayah_Li Kharoshthi Khitan_Small_Script
Khmer Khojki Khudawadi Kirat_Rai Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean
Marchen Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani
Myanmar Nabataean Nag_Mundari Nandinagari New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Ol_Onal Old_Hungarian Old_Italic
Old_North_Arabian Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage Osmanya Pahawh_Hmong Palmyrene
Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham Sidetic SignWriting Sinhala Sogdian
Sora_Sompeng Soyombo Sundanese Sunuwar Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Tai_Yo Takri Tamil Tangsa Tangut Telugu Thaana
Thai Tibetan Tifinagh Tirhuta Todhri Tolong_Siki Toto Tulu_Tigalari Ugaritic Unknown Vai Vithkuqi Wancho Warang_Citi Yezidi Yi Zanabazar_Square`.split(/\s+/)
const LETTERS = 'abcdefghijklmnopqrstuvwxyz'

function regex(name) { try { return new RegExp(`^\\p{${name}}$`, 'u') } catch { return null } }
function ranges(name) {
  const pattern = regex(name), found = []
  let last = -2, gapFrom = 0
  for (let point = 0; point <= 0x10ffff; point++) {
    if ((point >= 0xd800 && point <= 0xdfff) || !pattern.test(String.fromCodePoint(point))) continue
    if (point === last + 1) found[found.length - 1][1]++
    else { found.push([point - gapFrom, 1]) }
    last = point
    gapFrom = point + 1
  }
  return found.map(([gap, length]) => gap.toString(36) + ',' + length.toString(36)).join(' ')
}
function line(key, names) { console.log(names.map(name => key + name).join(' ') + '|' + ranges(key + names[0])) }

for (const names of BINARY) if (regex(names.split(':')[0])) line('', names.split(':')); else throw names
for (const names of CATEGORY) line('gc=', names.split(':'))
const codes = new Map()
for (const a of LETTERS.toUpperCase()) for (const b of LETTERS) for (const c of LETTERS) for (const d of LETTERS)
  if (regex('sc=' + a + b + c + d)) codes.set(a + b + c + d, ranges('scx=' + a + b + c + d))
const seen = new Set()
for (const script of SCRIPT) {
  const own = ranges('scx=' + script)
  const aliases = [...codes].filter(([code, theirs]) => theirs === own && code !== script).map(([code]) => code)
  for (const code of [...aliases, script]) seen.add(code)
  for (const key of ['sc=', 'scx=']) line(key, [script, ...aliases])
}
for (const code of codes.keys()) if (!seen.has(code)) console.error('a script without a long name: ' + code)
