"""A small help desk in five languages: twelve lessons each, and two questions for each lesson."""

# language -> lesson's condition -> questions it is the right one for
DESKS: dict[str, dict[str, tuple[str, str]]] = {
    "de": {
        "ein Kunde möchte eine Rückerstattung": (
            "Wann bekomme ich die Rückerstattungen für meine Schuhe?",
            "Zwei Kunden warten noch auf ihre Rückerstattung.",
        ),
        "ein vergessenes Passwort": (
            "Ich habe meine Passwörter vergessen.",
            "Das Passwort geht nicht mehr.",
        ),
        "eine verspätete Lieferung": (
            "Wo bleiben die Lieferungen?",
            "Lieferungen verspäten sich hier ständig.",
        ),
        "eine falsche Rechnung": (
            "Auf den Rechnungen stimmt der Betrag nicht.",
            "Die Rechnungen sind falsch.",
        ),
        "eine Bewerbung um einen Ausbildungsplatz": (
            "Nehmen Sie Bewerbungen für das nächste Jahr an?",
            "Gibt es noch Ausbildungsplätze bei Ihnen?",
        ),
        "ein gestohlenes Fahrrad": (
            "Beide Fahrräder wurden gestohlen.",
            "Man hat uns die Fahrräder gestohlen!",
        ),
        "ein Termin in der Werkstatt": (
            "Haben die Werkstätten noch Termine?",
            "Ich brauche zwei Termine.",
        ),
        "ein kaputter Akku": (
            "Die Akkus sind schon wieder kaputt.",
            "Kaputte Akkus nehmen Sie zurück?",
        ),
        "ein Gutschein, der abgelaufen ist": (
            "Gelten alte Gutscheine noch?",
            "Der Gutschein ist seit Mai abgelaufen.",
        ),
        "die Abmeldung vom Newsletter": (
            "Ich will keine Newsletters mehr.",
            "Meine Abmeldungen kommen nicht an.",
        ),
        "ein Interview für eine Zeitung": (
            "Wir bitten für unsere Zeitungen um Auskunft.",
            "Arbeiten bei Ihnen Leute von Zeitungen?",
        ),
        "die Miete eines Anhängers": (
            "Kann man bei Ihnen Anhänger mieten?",
            "Was kosten die Mieten im Sommer?",
        ),
    },
    "ru": {
        "клиент просит возврат денег": (
            "Когда вы оформите возвраты?",
            "Нет ли возвратов за куртку?",
        ),
        "забытый пароль": ("Я не помню своих паролей.", "Как сменить пароль?"),
        "опоздавшая доставка": ("Почему нет доставки?", "Жду доставку третью неделю."),
        "ошибка в счёте": ("В счёте нашлась ошибка.", "Наши бухгалтеры вернули счёта с ошибками."),
        "заявление о приёме на работу": (
            "Кому отправить заявления студентов?",
            "Ищу работу, возьмёте?",
        ),
        "украденный велосипед": ("Ночью пропали два велосипеда.", "Украли велосипеды у подъезда."),
        "запись в мастерскую": (
            "Есть ли места в мастерской?",
            "Хочу записаться в мастерские на среду.",
        ),
        "неисправный аккумулятор": (
            "Оба аккумулятора не держат заряд.",
            "Почему аккумуляторы неисправны?",
        ),
        "подарочный сертификат": (
            "Сколько действуют сертификаты?",
            "Можно ли вернуть подарочные карты?",
        ),
        "отказ от новостей по почте": (
            "Я против новостной почты.",
            "Как отказаться от писем на почту?",
        ),
        "интервью для журналиста": (
            "Дадите нам интервью?",
            "У нас двое журналистов, они хотят вас увидеть.",
        ),
        "аренда прицепа": (
            "Сколько стоят прицепы на день?",
            "Нужна аренда без залога, прицепов два.",
        ),
    },
    "fr": {
        "un client demande un remboursement": (
            "Me rembourserez-vous ?",
            "Je voudrais être remboursée.",
        ),
        "un mot de passe oublié": (
            "Mes codes sont oubliés.",
            "Les mots de passe ne marchent plus.",
        ),
        "une livraison en retard": (
            "Vos livraisons sont lentes.",
            "Mes deux livraisons ne sont pas là.",
        ),
        "une facture erronée": ("Ces deux montants sont erronés.", "On m'a facturé deux fois."),
        "une candidature pour un emploi": (
            "Acceptez-vous les candidatures ?",
            "À qui envoyer ma candidature et celles de mes amis ?",
        ),
        "un vélo volé": ("On nous a volé les vélos.", "Les roues ont été volées cette nuit."),
        "un rendez-vous à l'atelier": (
            "Les ateliers sont-ils ouverts ?",
            "Je veux deux rendez-vous à vos ateliers.",
        ),
        "une batterie défectueuse": (
            "Les batteries chauffent.",
            "Deux appareils défectueux en un mois.",
        ),
        "un bon cadeau périmé": ("Mes bons cadeaux sont-ils valables ?", "Ils sont déjà périmés."),
        "une désinscription de la lettre d'information": (
            "Je veux me désinscrire des lettres d'information.",
            "Arrêtez de m'envoyer des lettres !",
        ),
        "un entretien avec la presse": (
            "Un journaliste souhaite des entretiens.",
            "La presse veut vous parler.",
        ),
        "la location d'une remorque": (
            "Louez-vous des remorques ?",
            "Quel est le prix des locations ?",
        ),
    },
    "zh": {
        "顾客要求退款": ("我买的鞋不合适,能退款吗?", "退款什么时候到账?"),
        "忘记密码": ("我的密码忘了怎么办?", "怎样重设密码?"),
        "包裹送达太晚": ("我的包裹还没有到。", "包裹已经晚了三天。"),
        "发票有错误": ("发票上的名字写错了。", "请重新开发票。"),
        "申请工作": ("你们招人吗?我想申请。", "找工作应该联系谁?"),
        "自行车被偷": ("昨晚有人偷了我的自行车。", "自行车不见了。"),
        "预约修理": ("我要预约星期一。", "刹车坏了,哪里可以修理?"),
        "电池无法充电": ("新的电池又坏了。", "为什么充电这么慢?"),
        "礼品券过期": ("礼品券还能用吗?", "朋友送我一张礼品券。"),
        "取消订阅邮件": ("我不想再收邮件。", "请帮我取消订阅。"),
        "记者采访": ("我是记者,想拍照片。", "可以采访你们的经理吗?"),
        "租用拖车": ("拖车一天多少钱?", "周末想租一辆拖车。"),
    },
    "ja": {
        "返金を求めるお客様": ("靴を返品したので返金してほしいです。", "返金はいつになりますか。"),
        "パスワードを忘れた": ("パスワードが分かりません。", "新しいパスワードをください。"),
        "荷物の配達が遅れている": ("荷物がまだ届きません。", "配達はいつですか。"),
        "請求書の間違い": ("請求書の金額がおかしいです。", "名前に間違いがあります。"),
        "仕事への応募": ("アルバイトに応募したいです。", "そちらで仕事を探しています。"),
        "自転車の盗難": ("駅で自転車がなくなりました。", "盗難にあいました。"),
        "修理の予約": ("ブレーキを修理してください。", "月曜日に予約できますか。"),
        "電池が充電できない": ("電池がすぐ切れます。", "充電しても動きません。"),
        "商品券の期限": ("商品券はまだ使えますか。", "期限が過ぎてしまいました。"),
        "メールの配信停止": ("もう広告メールはいりません。", "配信を止めてください。"),
        "記者の取材": ("取材をお願いします。", "新聞の記者です。"),
        "トレーラーの貸出": ("トレーラーは一日いくらですか。", "貸出の料金を教えてください。"),
    },
}
