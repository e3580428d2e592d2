"""The words that tools are made of: what can be done, with what, by which arguments, of which kinds of values."""

# ruff: noqa: E501 (long lists are read more easily on few lines)

from __future__ import annotations

READING = tuple(
    tuple(group.split(","))
    for group in (
        "get,fetch,retrieve,obtain", "find,look up,locate,search for", "list,show,display", "check,inspect,look at", "read,view,open",
        "count", "describe,explain", "compare", "query", "monitor,watch", "calculate,compute,work out", "estimate", "search", "track,follow", "measure",
    )
)  # fmt: skip
"""Verbs that ask for something, the tool's own word first; the others of a group say the same."""
WRITING = tuple(
    tuple(group.split(","))
    for group in (
        "create,make,add,set up", "delete,remove,get rid of,erase", "update,change,modify,edit", "send,mail", "book,reserve", "cancel,call off",
        "start,begin,launch", "stop,halt,end", "close,shut", "move,shift", "copy,duplicate", "rename", "save,store,keep", "upload", "download",
        "approve,accept", "reject,refuse,decline", "assign", "publish,release", "order,buy,purchase", "pay,settle", "print", "schedule,plan", "share",
        "merge,combine", "split,divide", "export", "import", "archive", "restore,recover", "lock", "unlock", "enable,activate,switch on",
        "disable,deactivate,switch off", "convert,turn", "translate", "rotate,spin", "mark,flag", "register,sign up", "submit,hand in", "clean,clear",
        "repair,fix,mend", "build,construct", "paint", "mix,blend", "feed", "charge", "reset", "rate", "sell", "rent,hire", "ship,deliver", "invite",
        "notify,alert", "pause", "resume,continue", "install", "sort,order up", "filter", "resize", "verify,confirm", "attach", "subscribe", "sync,synchronise",
    )
)  # fmt: skip
NOUNS = (
    "account address agent agreement alarm album alert animal answer apartment appointment archive arrow article asset auction audit backup badge bag balance ball bank banner barrel basket battery beam bed bell bench "
    "bicycle bill bird blanket block board boat bolt bond bonus border bottle boundary bowl branch brand bridge brief brush bucket budget bug building bulb bundle button cabin cable calendar camera campaign candle canvas "
    "card cargo carpet case catalogue category certificate chain chair channel chapter chart chat check choice circle claim class client clock cloud club cluster coach coat collection column comment company complaint "
    "component concert condition conference contact container contest contract cookie corner counter coupon course crane crate credit crew crop curtain customer cycle damage database deadline deal debt deck delivery "
    "department deposit desk device diagram diary discount display document domain donation door draft drawer drawing drone duty edge editor election element elevator engine entry envelope episode error escrow estate "
    "event exam exchange exhibit expense experiment export factory fan farm fault feature fee fence field figure file filter finding fine fleet flight floor flower folder forecast form formula forum fountain frame freight "
    "friend function fund furnace gallery game garage garden gate gift glass goal grant graph group guest guide habit hammer harbour harvest heater helmet highlight hint holiday hook hospital host hotel house idea image "
    "incident index inspection insurance interview invoice island issue item jacket job journal journey key keyboard kitchen label ladder lake lamp landing lantern layer leaf lease lecture ledger legend lesson letter level "
    "licence light limit line link list loan location locker log loop lot machine magazine mailbox manual map margin market mask match meal measure medal medicine meeting member memo menu message meter milestone mine mirror "
    "mission model module moment monument motor mountain movie museum nail needle nest network newsletter node notice notification novel object offer office opening operation order organ outfit oven owner package page "
    "painting panel paper parcel park parking part partner pass passenger passport password patch path patient pattern payment pencil penalty pension permit phase photo piano picture pillar pilot pipe pipeline plan planet plant plate "
    "playlist plot plug pocket podcast poem point policy poll pond pool port position post poster potion pot prescription price printer prize problem process product profile programme project promise proof property proposal "
    "pump puzzle quarry question queue quiz quota quote race radio rail ramp range rate reading receipt recipe record refund region reminder rent repair reply report request reservation reservoir resort resource response "
    "restaurant reward ring river road robot rocket role roof room rope round route rule safe sail salary sale sample satellite scale scene schedule school score screen script sculpture seal season seat section sensor sequence "
    "series server session setting shadow shelf shift ship shipment shop shuttle signal silo site sketch slide slot snapshot solution song source spark speaker species sponsor spot spring stage stamp station statue step stock "
    "storage store storm story strategy stream street string student studio subject subscription suite summary supplier supply survey switch symbol symptom system table tank target task tax team telescope template tenant tent "
    "term terminal test theme theory thread ticket tide tile timer title toll tool topic tour tower town track trade trail train transaction transfer trap tray treatment tree trend trial trip trophy truck tunnel turbine tutor tyre "
    "unit update upgrade vaccine valley value valve van vault vehicle vendor venue version vessel video view village violin visa visit visitor volume voucher vote voyage wagon walk wall wallet warehouse warning warranty watch "
    "wave wedding well wheel whistle widget window wine wing winner wire wood workshop worksheet yard zone"
).split()
MODIFIERS = (
    "active annual backup basic blue broken central cheap clean cold common customer daily dark deep digital double early electric empty extra fast final first foreign free fresh full global golden green guest heavy hidden hot "
    "inner internal large last late legal light local long lost main manual medical mobile monthly narrow national new next night old online open outer paper personal pilot plain primary private public quick quiet rare red "
    "regional remote rough rural safe second secret senior shared sharp short silver single slow small smart soft solar solid special staff standard steel street summer team third tiny travel urban user vacant wide winter wooden "
    "work yearly young"
).split()
KEYS = {
    key: kind
    for key, _, kind in (pair.partition(":") for pair in (
        "name:title name:person city:place town:place country:place location:place place:place destination:place origin:place address:street street:street email:email recipient:email sender:email contact:email owner:person author:person "
        "customer:person client:person person:person user:person assignee:person teacher:person manager:person guest:person driver:person doctor:person title:title subject:phrase topic:phrase query:phrase message:phrase text:phrase "
        "content:phrase comment:phrase note:phrase reason:phrase description:phrase label:word tag:word category:word type:word kind:word group:word color:colour colour:colour material:word brand:word model:code size:count "
        "date:date start_date:date end_date:date due_date:date birthday:date deadline:date day:day weekday:day month:month time:time start_time:time end_time:time hour:time id:id user_id:id order_id:code invoice_id:code number:code "
        "code:code serial:code reference:code account:code ticket:code sku:code isbn:code plate:code phone:phone url:url link:url website:url path:path file:path folder:path filename:path language:language currency:currency version:version "
        "channel:slug branch:slug project:slug repository:slug host:slug service:slug username:slug count:count amount:amount quantity:count limit:count max_results:count page:count offset:count number_of_people:count seats:count "
        "age:count year:count level:count priority:count duration:count minutes:count hours:count days:count weeks:count width:count height:count length:amount depth:amount weight:amount price:amount rate:amount budget:amount "
        "score:amount temperature:degrees percentage:amount discount:amount ratio:amount distance:amount speed:amount volume:amount radius:amount urgent:flag active:flag public:flag private:flag verbose:flag recursive:flag force:flag "
        "express:flag notify:flag archived:flag visible:flag shared:flag draft:flag tags:list:word labels:list:word names:list:person people:list:person attendees:list:person members:list:person items:list:word ids:list:code "
        "cities:list:place colors:list:colour topics:list:word files:list:path emails:list:email status:state room:room material_type:word warehouse:place station:place department:word region:place gate:code seat:code shelf:code "
        "ingredient:word species:word instrument:word sport:activity activity:activity cuisine:cuisine genre:word mood:word flavour:word shape:word texture:word fabric:word engine:word fuel:word voltage:count power:amount"
    ).split())
}  # fmt: skip
"""Ordinary argument names and the kind of value they take."""
ENUMS = (
    "low medium high", "small medium large", "draft sent paid", "car bike foot", "asc desc", "open closed", "daily weekly monthly", "red green blue",
    "json csv xml", "north south east west", "bronze silver gold", "morning afternoon evening", "metric imperial", "public private internal", "full half none",
    "celsius fahrenheit", "debug info warning error", "spring summer autumn winter", "cash card transfer", "first second third", "new used", "left right centre",
    "in_progress on_hold done", "read write admin", "solid dashed dotted", "economy business first_class", "hot cold", "mono stereo", "male female other", "pdf docx txt",
)  # fmt: skip
SURNAMES = (
    "Abbott Bauer Becker Blake Brandt Castro Chandra Costa Dietrich Duarte Eriksen Fischer Fontaine Garcia Gruber Hansen Hoffman Ibrahim Jansen Jensen Keller Khan Kowalski Larsen Lehmann Lopez Martin Meyer Moreau Nakamura "
    "Novak Okafor Olsen Park Patel Peters Quinn Reyes Rossi Santos Schmidt Silva Singh Sokolov Suzuki Tanaka Turner Vargas Weber Wong Young Zimmer"
).split()
LANGUAGES = "English German French Spanish Italian Dutch Danish Polish Czech Greek Turkish Arabic Hindi Korean Japanese Swedish Finnish Welsh Latin Swahili".split()
CURRENCIES = "EUR USD GBP JPY CHF SEK NOK DKK PLN CZK HUF CAD AUD NZD INR CNY BRL MXN ZAR TRY".split()
CUISINES = (
    "Italian Thai Indian Mexican Greek Japanese Chinese Turkish French Korean Spanish Lebanese vegan Vietnamese".split()
)
ACTIVITIES = (
    "running swimming cycling rowing hiking climbing yoga boxing tennis football skating dancing skiing chess".split()
)
ROOMS = "kitchen bathroom bedroom garage hall office attic cellar study nursery lounge pantry studio workshop".split()
SMALL_WORDS = "the a of and in on for to with my your our new at from".split()
